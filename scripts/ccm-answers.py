#!/usr/bin/python3
"""Writes src/ccm_server/openapi/answers.json: what each operation of the reference answers, as JSON schemas.

  scripts/ccm-answers.py OPERATIONS.json >src/ccm_server/openapi/answers.json

OPERATIONS.json is the machine-readable form of the API reference: a list with chapter, name, function, response (status
and fields) and example_response of each operation. A field is required where the reference's own example shows it. Any
field may be null: the reference says so of few, and shows it of many.
"""
import json
import sys

# Shown by an example, and yet absent where it does not apply.
ABSENT_AT_TIMES = {
    "4.2.2.8": {"private_key"},  # not there where the certificate was made from somebody's CSR
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


def schema(kind, field, example, absent):
    """The schema of one value; `example` is None where the reference shows none."""
    if kind.startswith("array"):
        inner = kind[len("array<"):-1] if "<" in kind else "object"
        item = example[0] if isinstance(example, list) and example else None
        return {"type": ["array", "null"], "items": schema(inner, field, item, absent)}
    if kind.startswith("map"):
        return {"type": ["object", "null"]}
    if kind == "object" or kind not in KINDS:
        made = fields(field.get("fields") or [], example, absent)
        made["type"] = ["object", "null"]
        return made
    return {"type": [KINDS[kind], "null"]}


def fields(listed, example, absent):
    properties, required = {}, []
    for field in listed:
        name = field["name"]
        shown = example.get(name) if isinstance(example, dict) else None
        made = schema(field["type"].lower(), field, shown, absent)
        text = " ".join(field.get("description", "").split())
        if text:
            made["description"] = text if len(text) <= 200 else text[:197] + "..."
        properties[name] = made
        if isinstance(example, dict) and name in example and name not in absent:
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
        example = operation.get("example_response")
        absent = ABSENT_AT_TIMES.get(operation["chapter"], set())
        text = " ".join(operation.get("function", "").split())
        answer = {
            "id": operation["id"],
            "summary": operation["name"],
            "description": text.split(" - ")[0],
            "status": response.get("status") or 200,
        }
        if response.get("fields"):
            answer["schema"] = fields(response["fields"], example, absent)
        others = [other.get("content", "") for other in response.get("alternatives", [])]
        if any(other == "zip" or "binary" in other for other in others):
            answer["binary"] = True
        answers[operation["chapter"]] = answer
    json.dump(answers, sys.stdout, ensure_ascii=False, indent=1)
    print()


main()
