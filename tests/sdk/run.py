"""Runs life cycles against renewd-ccm with Huawei's own SDK, unmodified, over AK/SK.

Reads a JSON object on standard input: endpoint, access_key, secret_key, domain_id, bucket, and where they are known
security_token, root (of the server's certificate, PEM), region, resource, dns (where this answers for names)
and only (names of life cycles). Prints one JSON object: the chapters that the life cycles say they go through, which the
server's own count is to confirm, their names, and the fingerprint of what the resource serves in the end. Which life
cycles are run follows from the server's own description: those whose chapters it all has.
"""
import json
import shutil
import ssl
import sys
import traceback
import urllib.request

import names
import pca  # noqa: F401
import scm  # noqa: F401
from common import LIVES, Account


def served(config):
    """The chapters in the server's table."""
    url, root = config["endpoint"] + "/openapi.json", config.get("root")
    context = ssl.create_default_context(cadata=root) if root else None
    with urllib.request.urlopen(url, timeout=30, context=context) as answer:
        document = json.load(answer)
    methods = [method for path in document["paths"].values() for method in path.values()]
    return {method["x-chapter"] for method in methods}


def main():
    config = json.load(sys.stdin)
    account = Account(config)
    account.names = names.Names(config.get("dns", "127.0.0.1:0"))
    known = served(config)
    chapters, lives = set(), []
    wanted = config.get("only")
    for function, needs in LIVES:
        if not set(needs) <= known or (wanted and function.__name__ not in wanted):
            continue
        try:
            function(account)
        except Exception:
            print(f"the life cycle {function.__name__} ended badly:", file=sys.stderr)
            traceback.print_exc()
            return 1
        chapters |= set(needs)
        lives.append(function.__name__)
    account.names.close()
    shutil.rmtree(account.work)
    print(json.dumps({"chapters": sorted(chapters), "lives": lives, "served": account.served}))
    return 0


sys.exit(main())
