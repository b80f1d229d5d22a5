#!/usr/bin/python3
"""Writes src/ccm_server/openapi/answers.json: what each operation of the reference answers, as JSON schemas.

  scripts/ccm-answers.py OPERATIONS.json >src/ccm_server/openapi/answers.json

OPERATIONS.json is the machine-readable form of the API reference: a list with chapter, name, function and response (status
and fields) of each operation. Every field of its tables is there, and none is null but those listed
here: the reference says of few fields that they may be, and shows it of many. The tests hold every answer against it.
"""
import json
import sys

# In a table, and yet absent where it does not apply.
ABSENT_AT_TIMES = {
    "4.1.2.1": {"resources"},  # the action `count` answers a number alone
    "4.1.5.3": {"application_info"},  # nobody applied for what was uploaded
    "4.2.2.8": {"private_key"},  # not there where the certificate was made from somebody's CSR
}

COMPANY = "company_country company_province company_city company_name"
APPLICANT = (
    "country company_name company_province company_city applicant_name applicant_phone applicant_email contact_name "
    "contact_phone contact_email"
)
SUBJECT = [f"distinguished_name.{part}" for part in "country state locality organization organizational_unit".split()]
CRL = [f"crl_configuration.{part}" for part in "crl_name obs_bucket_name valid_days crl_dis_point".split()]
# A root has no issuer, a CA that waits for its activation no certificate, one that is not deleted no time of it.
CA = "path_length issuer_id issuer_name signature_algorithm serial_number delete_time not_before not_after".split()


def below(place, names):
    return {f"{place}.{name}" for name in names}


# Null where there is nothing to say.
NULL_AT_TIMES = {
    # What was uploaded has neither type nor order, what was only bought neither certificate nor domain.
    "4.1.2.1": below(
        "resources[].resource_detail",
        "cert_type cert_brand expired_time cert_des signature_algorithm fail_reason partner_order_id cert_issued_time "
        "origin_cert_id renewal_cert_id".split(),
    ),
    "4.1.4.1": set(COMPANY.split()),
    "4.1.4.2": below("csr_list[]", COMPANY.split()),
    "4.1.4.3": set(COMPANY.split()),
    "4.1.4.4": set(COMPANY.split()),
    "4.1.5.1": below(
        "certificates[]", "domain sans signature_algorithm type brand expire_time description".split()
    ),
    "4.1.5.3": set(
        "order_id type brand revoke_reason signature_algorithm issue_time not_before not_after validation_method "
        "multi_domain_type domain sans fingerprint description".split()
    ),
    # What was uploaded alone has no chain, what was issued for somebody's CSR no key.
    "4.1.5.5": {"certificate_chain", "private_key"},
    # An organization is mandatory for those that are made here, and others are not listed.
    "4.2.1.1": below("certificate_authorities[]", CA + SUBJECT + CRL) - {
        "certificate_authorities[].distinguished_name.organization"
    },
    "4.2.1.4": set(CA + SUBJECT + CRL),
    "4.2.1.10": {"certificate_chain"},  # of a root
    "4.2.2.1": below("certificates[]", SUBJECT + ["delete_time"]),
    "4.2.2.4": set(SUBJECT),
    "4.2.2.6": set(SUBJECT + ["delete_time"]),
    "7.1.2": below("order_list[]", "cert_type cert_brand expired_time cert_des".split()),
    "7.1.3": set("order_id cert_type cert_brand cert_describe revoke_reason encrypt_type organization_unit".split())
    | set(APPLICANT.split()),
    "7.1.10": set("domain_name sans CSR company_unit".split()) | set(APPLICANT.split()),
    "7.1.18": {"push_history_list[].push_remote_project"},  # CDN has no project
    "7.1.21": {"domain_email", "applicant_email"},  # no mail is asked; or the applicant was forgotten (7.1.19)
}

KINDS = {
    "string": "string",
    "integer": "integer",
    "int": "integer",
    "long": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "object",
}


# Those that were found in the reference.
USED = set()


def schema(kind, field, place, chapter):
    """The schema of one value, which is never null."""
    if kind.startswith("array"):
        inner = kind[len("array<"):-1] if "<" in kind else "object"
        return {"type": "array", "items": schema(inner, field, f"{place}[]", chapter)}
    if kind.startswith("map"):
        return {"type": "object"}
    if kind == "object" or kind not in KINDS:
        return fields(field.get("fields") or [], f"{place}.", chapter)
    return {"type": KINDS[kind]}


def fields(listed, above, chapter):
    absent, null = ABSENT_AT_TIMES.get(chapter, set()), NULL_AT_TIMES.get(chapter, set())
    properties, required = {}, []
    for field in listed:
        name = field["name"]
        place = f"{above}{name}"
        made = schema(field["type"].lower(), field, place, chapter)
        if place in null:
            made["type"] = [made["type"], "null"]
            USED.add((chapter, place))
        text = " ".join(field.get("description", "").split())
        if text:
            made["description"] = text if len(text) <= 200 else text[:197] + "..."
        properties[name] = made
        if place not in absent:
            required.append(name)
    made = {"type": "object", "properties": properties}
    if required:
        made["required"] = required
    return made


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        operations = json.load(file)
    answers = {}
    for operation in operations:
        response = operation.get("response") or {}
        text = " ".join(operation.get("function", "").split())
        answer = {
            "id": operation["id"],
            "summary": operation["name"],
            "description": text.split(" - ")[0],
            "status": response.get("status") or 200,
        }
        if response.get("fields"):
            answer["schema"] = fields(response["fields"], "", operation["chapter"])
        others = [other.get("content", "") for other in response.get("alternatives", [])]
        if any(other == "zip" or "binary" in other for other in others):
            answer["binary"] = True
        answers[operation["chapter"]] = answer
    listed = {(chapter, place) for chapter, places in NULL_AT_TIMES.items() for place in places}
    if listed - USED:
        sys.exit(f"no operation has these fields: {sorted(listed - USED)}")
    json.dump(answers, sys.stdout, ensure_ascii=False, indent=1)
    print()


main()
