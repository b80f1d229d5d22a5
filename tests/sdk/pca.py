"""Life cycles of private CAs and certificates (CCM API 4.2), by the SDK for CCM."""
import io
import urllib.request
import zipfile

from huaweicloudsdkccm.v1 import (
    CcmClient,
    CertDistinguishedName,
    CreateCertificateAuthorityObsAgencyRequest,
    CreateCertificateAuthorityRequest,
    CreateCertificateAuthorityRequestBody,
    CreateCertificateByCsrRequest,
    CreateCertificateByCsrRequestBody,
    CreateCertificateRequest,
    CreateCertificateRequestBody,
    CrlConfiguration,
    CustomizedExtension,
    DeleteCertificateAuthorityRequest,
    DeleteCertificateRequest,
    DisableCertificateAuthorityRequest,
    DistinguishedName,
    EnableCertificateAuthorityRequest,
    ExportCertificateAuthorityCertificateRequest,
    ExportCertificateAuthorityCsrRequest,
    ExportCertificateRequest,
    ExportCertificateRequestBody,
    ExtendedKeyUsage,
    ImportCertificateAuthorityCertificateRequest,
    ImportCertificateAuthorityCertificateRequestBody,
    IssueCertificateAuthorityCertificateRequest,
    IssueCertificateAuthorityCertificateRequestBody,
    ListCertificateAuthorityObsBucketRequest,
    ListCertificateAuthorityRequest,
    ListCertificateRequest,
    ParseCertificateSigningRequestRequest,
    ParseCertificateSigningRequestRequestBody,
    RestoreCertificateAuthorityRequest,
    RevokeCertificateAuthorityRequest,
    RevokeCertificateRequest,
    RevokeCertificateRequestBody,
    ShowCertificateAuthorityObsAgencyRequest,
    ShowCertificateAuthorityQuotaRequest,
    ShowCertificateAuthorityRequest,
    ShowCertificateQuotaRequest,
    ShowCertificateRequest,
    SubjectAlternativeName,
    Validity,
)

from common import key_and_request, life, moment, openssl, pem, refused, serial, text, uuid, whole, write

NAME = {
    "country": "CN",
    "state": "sichuan",
    "locality": "chengdu",
    "organization": "Corp",
    "organizational_unit": "IT",
}
# A CA without lists shows so.
NO_LIST = {"enabled": False}


def name(common_name):
    return DistinguishedName(common_name=common_name, **NAME)


def is_name(common_name, **instead):
    def check(value):
        whole(value, common_name=common_name, **{**NAME, **instead})
        return True

    return check


def no_list(value):
    return value is not None and value.enabled is False


def create(client, kind, common_name, **more):
    body = CreateCertificateAuthorityRequestBody(
        type=kind, distinguished_name=name(common_name), key_algorithm="EC256", **more
    )
    answer = client.create_certificate_authority(CreateCertificateAuthorityRequest(body=body))
    whole(answer, ca_id=uuid)
    return answer.ca_id


def create_root(client, common_name, **more):
    validity = Validity(type="YEAR", value=10)
    return create(client, "ROOT", common_name, validity=validity, signature_algorithm="SHA256", **more)


def show(client, ca_id):
    return client.show_certificate_authority(ShowCertificateAuthorityRequest(ca_id=ca_id))


def status(client, ca_id):
    return show(client, ca_id).status


def export_ca(client, ca_id):
    request = ExportCertificateAuthorityCertificateRequest(ca_id=ca_id)
    return client.export_certificate_authority_certificate(request)


def has_gone(client, ca_id):
    refused(lambda: show(client, ca_id), 404, "PCA.00030102")


def delete_ca(client, ca_id, days):
    request = DeleteCertificateAuthorityRequest(ca_id=ca_id, pending_days=days)
    whole(client.delete_certificate_authority(request))


@life("4.2.1.2", "4.2.1.4", "4.2.1.1", "4.2.1.3", "4.2.1.10", "4.2.1.8", "4.2.1.9", "4.2.1.5", "4.2.1.12")
def root_of_a_hierarchy(account):
    client = account.client(CcmClient)
    quotas = client.show_certificate_authority_quota(ShowCertificateAuthorityQuotaRequest()).quotas
    whole(quotas, resources=lambda all: len(all) == 1)
    before = quotas.resources[0]
    whole(before, type="CERTIFICATE_AUTHORITY", used=lambda n: n >= 0, quota=lambda n: n > 0)
    root = create_root(client, "life root")
    shown = show(client, root)
    whole(
        shown,
        ca_id=root,
        type="ROOT",
        status="ACTIVED",
        path_length=lambda n: n in (None, 7),
        key_algorithm="EC256",
        signature_algorithm="SHA256",
        freeze_flag=0,
        gen_mode="GENERATE",
        serial_number=serial,
        create_time=moment,
        not_before=moment,
        not_after=moment,
        distinguished_name=is_name("life root"),
        crl_configuration=no_list,
        issuer_name=lambda issuer: issuer in (None, "life root"),
    )
    assert shown.not_after - shown.not_before > 9 * 365 * 86_400_000
    after = client.show_certificate_authority_quota(ShowCertificateAuthorityQuotaRequest()).quotas
    assert after.resources[0].used == before.used + 1
    listed = client.list_certificate_authority(
        ListCertificateAuthorityRequest(limit=10, offset=0, name="life root", type="ROOT", status="ACTIVED")
    )
    whole(listed, total=1, certificate_authorities=lambda all: len(all) == 1)
    one = listed.certificate_authorities[0]
    assert one.ca_id == root and one.distinguished_name.common_name == "life root"
    exported = export_ca(client, root)
    whole(exported, certificate=pem("CERTIFICATE"), certificate_chain=lambda chain: chain in (None, ""))
    said = openssl("x509", "-noout", "-text", given=exported.certificate)
    assert "CA:TRUE" in said and "CN = life root" in said
    whole(client.disable_certificate_authority(DisableCertificateAuthorityRequest(ca_id=root)))
    assert status(client, root) == "DISABLED"
    whole(client.enable_certificate_authority(EnableCertificateAuthorityRequest(ca_id=root)))
    assert status(client, root) == "ACTIVED"
    # Only what is disabled can be deleted, and it is not gone before its days are over.
    refused(lambda: delete_ca(client, root, "7"), 403, "PCA.00030201")
    client.disable_certificate_authority(DisableCertificateAuthorityRequest(ca_id=root))
    refused(lambda: delete_ca(client, root, "6"), 400, "PCA.00020001")
    delete_ca(client, root, "7")
    deleted = show(client, root)
    assert deleted.status == "DELETED" and moment(deleted.delete_time)
    whole(client.restore_certificate_authority(RestoreCertificateAuthorityRequest(ca_id=root)))
    assert status(client, root) == "DISABLED"


@life("4.2.1.2", "4.2.1.6", "4.2.1.7", "4.2.1.5", "4.2.1.10", "4.2.1.13")
def subordinate_in_two_steps(account):
    client = account.client(CcmClient)
    root = create_root(client, "two steps root")
    pending = create(client, "SUBORDINATE", "two steps")
    whole(
        show(client, pending),
        ca_id=pending,
        type="SUBORDINATE",
        status="PENDING",
        key_algorithm="EC256",
        freeze_flag=0,
        gen_mode="GENERATE",
        create_time=moment,
        distinguished_name=is_name("two steps"),
        crl_configuration=no_list,
        signature_algorithm=lambda hash: hash in (None, ""),
    )
    csr = client.export_certificate_authority_csr(ExportCertificateAuthorityCsrRequest(ca_id=pending))
    whole(csr, csr=pem("CERTIFICATE REQUEST"))
    assert "verify OK" in openssl("req", "-noout", "-verify", given=csr.csr)
    refused(lambda: export_ca(client, pending), 403, "PCA.00030201")
    body = IssueCertificateAuthorityCertificateRequestBody(
        issuer_id=root, path_length=1, signature_algorithm="SHA256", validity=Validity(type="YEAR", value=3)
    )
    request = IssueCertificateAuthorityCertificateRequest(ca_id=pending, body=body)
    whole(client.issue_certificate_authority_certificate(request))
    whole(
        show(client, pending),
        ca_id=pending,
        type="SUBORDINATE",
        status="ACTIVED",
        path_length=1,
        issuer_id=root,
        issuer_name="two steps root",
        key_algorithm="EC256",
        signature_algorithm="SHA256",
        freeze_flag=0,
        gen_mode="GENERATE",
        serial_number=serial,
        create_time=moment,
        not_before=moment,
        not_after=moment,
        distinguished_name=is_name("two steps"),
        crl_configuration=no_list,
    )
    exported = export_ca(client, pending)
    whole(exported, certificate=pem("CERTIFICATE"), certificate_chain=pem("CERTIFICATE"))
    leaf = write(account, "sub.pem", exported.certificate)
    above = write(account, "root.pem", exported.certificate_chain)
    assert "OK" in openssl("verify", "-CAfile", above, leaf)
    # A pending one is gone at once.
    other = create(client, "SUBORDINATE", "never used")
    delete_ca(client, other, "7")
    has_gone(client, other)
    body = RevokeCertificateRequestBody(reason="CESSATION_OF_OPERATION")
    whole(client.revoke_certificate_authority(RevokeCertificateAuthorityRequest(ca_id=pending, body=body)))
    assert status(client, pending) != "ACTIVED"


@life("4.2.1.2", "4.2.1.7", "4.2.1.11", "4.2.1.10")
def subordinate_signed_elsewhere(account):
    client = account.client(CcmClient)
    pending = create(client, "SUBORDINATE", "signed elsewhere")
    csr = client.export_certificate_authority_csr(ExportCertificateAuthorityCsrRequest(ca_id=pending)).csr
    request = write(account, "elsewhere.csr", csr)
    key, root = account.path("elsewhere.key"), account.path("elsewhere.pem")
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", root,
        "-subj", "/CN=elsewhere", "-days", "3650", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )
    extensions = write(
        account,
        "elsewhere.cnf",
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    )
    signed = account.path("signed.pem")
    openssl(
        "x509", "-req", "-in", request, "-CA", root, "-CAkey", key, "-CAcreateserial", "-out", signed, "-days", "365",
        "-sha256", "-extfile", extensions,
    )
    with open(signed, encoding="ascii") as file:
        certificate = file.read()
    with open(root, encoding="ascii") as file:
        chain = file.read()
    body = ImportCertificateAuthorityCertificateRequestBody(certificate=certificate, certificate_chain=chain)
    request = ImportCertificateAuthorityCertificateRequest(ca_id=pending, body=body)
    whole(client.import_certificate_authority_certificate(request))
    whole(
        show(client, pending),
        ca_id=pending,
        type="SUBORDINATE",
        status="ACTIVED",
        path_length=0,
        issuer_name="elsewhere",
        key_algorithm="EC256",
        signature_algorithm="SHA256",
        freeze_flag=0,
        gen_mode="IMPORT",
        serial_number=text,
        create_time=moment,
        not_before=moment,
        not_after=moment,
        distinguished_name=is_name("signed elsewhere"),
        crl_configuration=no_list,
    )


def applied(client, issuer, common_name):
    body = CreateCertificateRequestBody(
        issuer_id=issuer,
        key_algorithm="EC256",
        signature_algorithm="SHA256",
        distinguished_name=CertDistinguishedName(common_name=common_name, **NAME),
        validity=Validity(type="DAY", value=90),
        key_usages=["digitalSignature", "keyAgreement"],
        subject_alternative_names=[
            SubjectAlternativeName(type="DNS", value=common_name),
            SubjectAlternativeName(type="IP", value="192.0.2.7"),
        ],
        extended_key_usage=ExtendedKeyUsage(server_auth=True, client_auth=True),
        customized_extension=CustomizedExtension(object_identifier="1.3.6.1.4.1.2011.4.99", value="life"),
    )
    answer = client.create_certificate(CreateCertificateRequest(body=body))
    whole(answer, certificate_id=uuid)
    return answer.certificate_id


def show_certificate(client, certificate_id):
    return client.show_certificate(ShowCertificateRequest(certificate_id=certificate_id))


def exported(client, certificate_id, kind, compressed="false"):
    body = ExportCertificateRequestBody(is_compressed=compressed, type=kind)
    request = ExportCertificateRequest(certificate_id=certificate_id, body=body)
    return client.export_certificate(request)


@life("4.2.2.2", "4.2.2.6", "4.2.2.1", "4.2.2.5", "4.2.2.8", "4.2.2.9", "4.2.2.7")
def certificate_with_a_key_made_there(account):
    client = account.client(CcmClient)
    root = create_root(client, "applied root")
    quota = client.show_certificate_quota(ShowCertificateQuotaRequest()).quotas.resources[0]
    whole(quota, type="CERTIFICATE", used=lambda n: n >= 0, quota=100_000)
    first = applied(client, root, "www.life.example")
    second = applied(client, root, "api.life.example")
    shown = show_certificate(client, first)
    whole(
        shown,
        certificate_id=first,
        status="ISSUED",
        issuer_id=root,
        issuer_name="applied root",
        key_algorithm="EC256",
        signature_algorithm="SHA256",
        freeze_flag=0,
        gen_mode="GENERATE",
        serial_number=serial,
        create_time=moment,
        not_before=moment,
        not_after=moment,
        distinguished_name=is_name("www.life.example"),
    )
    days = (shown.not_after - shown.not_before) / 86_400_000
    assert 90 <= days < 90.1, days
    used = client.show_certificate_quota(ShowCertificateQuotaRequest()).quotas.resources[0].used
    assert used == quota.used + 2
    found = client.list_certificate(
        ListCertificateRequest(limit=1, offset=1, name="life.example", status="ISSUED", sort_key="common_name", sort_dir="ASC")
    )
    whole(found, total=2, certificates=lambda all: len(all) == 1)
    assert found.certificates[0].certificate_id == first, "api comes before www"
    for kind in ("APACHE", "IIS", "NGINX", "TOMCAT", "OTHER", "other"):
        answer = exported(client, first, kind)
        whole(
            answer,
            certificate=pem("CERTIFICATE"),
            certificate_chain=pem("CERTIFICATE"),
            private_key=lambda key: "PRIVATE KEY-----" in key,
        )
    leaf, above = write(account, "leaf.pem", answer.certificate), write(account, "above.pem", answer.certificate_chain)
    assert "OK" in openssl("verify", "-CAfile", above, "-verify_hostname", "www.life.example", leaf)
    key = write(account, "leaf.key", answer.private_key)
    assert openssl("pkey", "-in", key, "-pubout") == openssl("x509", "-in", leaf, "-noout", "-pubkey")
    said = openssl("x509", "-in", leaf, "-noout", "-text")
    assert "IP Address:192.0.2.7" in said and "TLS Web Client Authentication" in said and "1.3.6.1.4.1.2011.4.99" in said
    body = RevokeCertificateRequestBody(reason="KEY_COMPROMISE")
    whole(client.revoke_certificate(RevokeCertificateRequest(certificate_id=first, body=body)))
    assert show_certificate(client, first).status == "REVOKED"
    refused(lambda: exported(client, first, "OTHER"), 403, "PCA.00030201")
    for gone in (first, second):
        whole(client.delete_certificate(DeleteCertificateRequest(certificate_id=gone)))
        refused(lambda: show_certificate(client, gone), 404, "PCA.00030102")


@life("4.2.2.3", "4.2.2.4", "4.2.2.6", "4.2.2.8", "4.2.2.9")
def certificate_by_request(account):
    client = account.client(CcmClient)
    root = create_root(client, "request root")
    key, csr = key_and_request(account, "/C=CN/O=Corp/CN=csr.life.example", "DNS:csr.life.example,DNS:*.life.example")
    body = ParseCertificateSigningRequestRequestBody(csr=csr)
    parsed = client.parse_certificate_signing_request(ParseCertificateSigningRequestRequest(body=body))
    whole(
        parsed,
        key_algorithm="EC",
        key_algorithm_length=256,
        signature_algorithm=text,
        public_key=pem("PUBLIC KEY"),
        distinguished_name=lambda dn: (dn.common_name, dn.organization, dn.country) == ("csr.life.example", "Corp", "CN"),
    )
    body = CreateCertificateByCsrRequestBody(
        issuer_id=root, csr=csr, type="ENTITY_CERT", validity=Validity(type="MONTH", value=2)
    )
    made = client.create_certificate_by_csr(CreateCertificateByCsrRequest(body=body))
    whole(made, certificate_id=uuid)
    shown = show_certificate(client, made.certificate_id)
    assert (shown.gen_mode, shown.status, shown.issuer_id) == ("CSR", "ISSUED", root)
    answer = exported(client, made.certificate_id, "NGINX")
    # The key was never there.
    whole(answer, certificate=pem("CERTIFICATE"), certificate_chain=pem("CERTIFICATE"))
    leaf = write(account, "csr-leaf.pem", answer.certificate)
    assert openssl("pkey", "-in", key, "-pubout") == openssl("x509", "-in", leaf, "-noout", "-pubkey")
    broken = ParseCertificateSigningRequestRequestBody(csr=csr.replace("A", "B"))
    request = ParseCertificateSigningRequestRequest(body=broken)
    refused(lambda: client.parse_certificate_signing_request(request), 400, "PCA.00020401")


MEMBERS = {
    "APACHE": {"server.key", "chain.crt", "server.crt"},
    "IIS": {"keystorePass.txt", "server.pfx"},
    "NGINX": {"server.key", "server.crt"},
    "TOMCAT": {"keystorePass.txt", "server.jks"},
    "OTHER": {"server.key", "chain.pem", "server.pem"},
}


@life("4.2.2.2", "4.2.2.8")
def archives(account):
    client = account.client(CcmClient)
    root = create_root(client, "archive root")
    certificate = applied(client, root, "zip.life.example")
    for kind, members in MEMBERS.items():
        answer = exported(client, certificate, kind, "true")
        with zipfile.ZipFile(io.BytesIO(answer.raw_content)) as archive:
            assert set(archive.namelist()) == members, f"{kind}: {archive.namelist()}"
            content = {member: archive.read(member) for member in members}
        if "server.pfx" in content:
            password = content["keystorePass.txt"].decode().strip()
            path = account.path("server.pfx")
            with open(path, "wb") as file:
                file.write(content["server.pfx"])
            openssl("pkcs12", "-in", path, "-passin", f"pass:{password}", "-nodes")
        elif "server.key" in content:
            key = write(account, "zip.key", content["server.key"].decode())
            member = "server.pem" if kind == "OTHER" else "server.crt"
            leaf = write(account, "zip.pem", content[member].decode())
            assert openssl("pkey", "-in", key, "-pubout") == openssl("x509", "-in", leaf, "-noout", "-pubkey")


@life("4.2.2.3")
def authority_by_request(account):
    client = account.client(CcmClient)
    root = create_root(client, "intermediate root")
    _, csr = key_and_request(account, "/CN=life intermediate")
    body = CreateCertificateByCsrRequestBody(
        issuer_id=root, csr=csr, type="INTERMEDIATE_CA", path_length=0, validity=Validity(type="YEAR", value=1)
    )
    made = client.create_certificate_by_csr(CreateCertificateByCsrRequest(body=body))
    whole(made, certificate_id=uuid)
    certificate = export_ca(client, made.certificate_id).certificate
    assert "CA:TRUE" in openssl("x509", "-noout", "-text", given=certificate)


@life("4.2.3.1", "4.2.3.2", "4.2.3.3", "4.2.1.2", "4.2.2.9")
def lists_of_revoked_certificates(account):
    client = account.client(CcmClient)
    request = ShowCertificateAuthorityObsAgencyRequest()
    whole(client.show_certificate_authority_obs_agency(request), agency_granted="false")
    made = client.create_certificate_authority_obs_agency(CreateCertificateAuthorityObsAgencyRequest())
    whole(made, agency_id=text)
    whole(client.show_certificate_authority_obs_agency(request), agency_granted="true")
    buckets = client.list_certificate_authority_obs_bucket(ListCertificateAuthorityObsBucketRequest())
    whole(buckets, total=1, obs_buckets=lambda all: len(all) == 1)
    whole(buckets.obs_buckets[0], bucket_name=account.config["bucket"], create_time=moment)
    crl = CrlConfiguration(enabled=True, crl_name="life", obs_bucket_name=account.config["bucket"], valid_days=7)
    root = create_root(client, "list root", crl_configuration=crl)
    shown = show(client, root).crl_configuration
    whole(
        shown,
        enabled=True,
        crl_name="life",
        obs_bucket_name=account.config["bucket"],
        valid_days=7,
        crl_dis_point=lambda url: url.startswith("http") and url.endswith("life.crl"),
    )
    certificate = applied(client, root, "revoked.life.example")
    leaf = exported(client, certificate, "OTHER").certificate
    said = openssl("x509", "-noout", "-serial", "-ext", "crlDistributionPoints", given=leaf)
    assert shown.crl_dis_point in said, said
    own = said.split("serial=")[1].split()[0]
    body = RevokeCertificateRequestBody(reason="SUPERSEDED")
    client.revoke_certificate(RevokeCertificateRequest(certificate_id=certificate, body=body))
    with urllib.request.urlopen(shown.crl_dis_point, timeout=30) as answer:
        path = account.path("life.crl")
        with open(path, "wb") as file:
            file.write(answer.read())
    said = openssl("crl", "-inform", "DER", "-in", path, "-noout", "-text")
    assert own in said and "Superseded" in said, said
