"""What the life cycles share: clients, checks of whole answers, openssl."""
import os
import subprocess
import tempfile

from huaweicloudsdkcore.auth.credentials import GlobalCredentials
from huaweicloudsdkcore.exceptions import exceptions
from huaweicloudsdkcore.http.http_config import HttpConfig

# Chapters that a life cycle goes through, in the order of the file.
LIVES = []


def life(*chapters):
    """Marks a function as a life cycle that needs these chapters of the API reference."""

    def mark(function):
        LIVES.append((function, chapters))
        return function

    return mark


class Account:
    """A user of the server under test, and what is known about it."""

    def __init__(self, config):
        self.config = config
        self.endpoint = config["endpoint"]
        self.work = tempfile.mkdtemp(prefix="life-", dir=os.getcwd())
        # SHA-1 of what the resource serves in the end.
        self.served = None

    def client(self, kind):
        """The SDK's own client of a service, as its documentation says to make it."""
        credentials = GlobalCredentials(self.config["access_key"], self.config["secret_key"])
        if self.config.get("security_token"):
            credentials = credentials.with_security_token(self.config["security_token"])
        credentials = credentials.with_domain_id(self.config["domain_id"])
        settings = HttpConfig.get_default_config()
        settings.retry_times = 0
        settings.timeout = (10, 120)
        if self.config.get("root"):
            # The root that signed the server's own certificate.
            settings.ssl_ca_cert = write(self, "root-of-server.pem", self.config["root"])
        builder = kind.new_builder().with_http_config(settings)
        return builder.with_credentials(credentials).with_endpoint(self.endpoint).build()

    def path(self, name):
        return os.path.join(self.work, name)


def whole(answer, **expected):
    """Checks every field of an answer: those that are named as they are said, and no other has a value.

    What is expected is a value, or a function that must hold for it.
    """
    kind = type(answer).__name__
    for name in answer.openapi_types:
        have = getattr(answer, name)
        if name not in expected:
            assert have is None, f"{kind}.{name} is {have!r}, and nothing was expected"
            continue
        want = expected[name]
        good = want(have) if callable(want) else have == want
        assert good, f"{kind}.{name} is {have!r}, which is not what was expected ({want!r})"
    unknown = set(expected) - set(answer.openapi_types)
    assert not unknown, f"{kind} has no {unknown}"


def refused(call, status, code):
    """Carries out what must be refused with this status and code."""
    try:
        answer = call()
    except exceptions.ServiceResponseException as error:
        assert (error.status_code, error.error_code) == (status, code), (
            f"{error.status_code} {error.error_code} {error.error_msg}, not {status} {code}"
        )
        assert error.error_msg, "a refusal says something"
        return error
    raise AssertionError(f"was not refused: {answer}")


def uuid(text):
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12]


def text(value):
    return isinstance(value, str) and value != ""


def moment(value):
    """Milliseconds since 1970, of these years."""
    return isinstance(value, int) and 1_700_000_000_000 < value < 3_000_000_000_000


def serial(value):
    """The reference's own: 24 digits that begin with the date."""
    return isinstance(value, str) and len(value) == 24 and value.isdigit()


def pem(label):
    def check(value):
        return value.startswith(f"-----BEGIN {label}-----") and "\r\n" in value

    return check


def openssl(*arguments, given=None, good=True):
    """Runs openssl; what it wrote to both outputs."""
    done = subprocess.run(
        ["openssl", *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    if good:
        assert done.returncode == 0, f"openssl {arguments}: {said}"
    return said


def key_and_request(account, subject, names=None):
    """A private key made here, and a CSR for it."""
    key, request = account.path("own.key"), account.path("own.csr")
    more = ["-addext", f"subjectAltName={names}"] if names else []
    openssl(
        "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", key, "-out", request, "-subj", subject, *more,
    )
    with open(request, encoding="ascii") as file:
        return key, file.read()


def write(account, name, content):
    path = account.path(name)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(content)
    return path
