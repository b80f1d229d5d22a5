#!/usr/bin/env python3
"""Makes tests/fixtures/ccm/contract.json from a description of the CCM API reference.

    scripts/ccm-contract.py path/to/operations.json

The input lists every operation of the reference (Issue 4, 2025-05-26) with its fields, limits and examples. What comes
out is what client and server are both held to: method, path, success status, fields of request and answer with their
limits, and the two examples. Prose, line numbers and what only the SDK says are left out.
"""

import json
import pathlib
import sys

KEPT = (
    "name", "type", "required", "min", "max", "limit_kind", "enum", "array_length", "default", "pattern", "must_be",
    "suspect",
)
# Of answers also: words that only other parts of the reference have, and other names of the same field.
KEPT_OF_ANSWERS = (*KEPT, "enum_extra", "aliases")


def fields(described, keys=KEPT):
    kept = []
    for field in described or []:
        one = {key: field[key] for key in keys if key in field}
        if field.get("fields"):
            one["fields"] = fields(field["fields"], keys)
        kept.append(one)
    return kept


def is_binary(alternative):
    content = alternative.get("content", "")
    return content == "zip" or "binary" in content


def operation(described):
    good = sorted(int(code) for code in described["status_codes"] if code.startswith("2"))
    one = {
        "id": described["id"],
        "chapter": described["chapter"],
        "group": described["group"],
        "method": described["method"],
        "path": described.get("path_literal", described["path"]),
        "path_as_printed": described["path_seed"],
        "status": good[0],
        "path_params": fields(described["path_params"]),
        "query": fields(described["query"]),
        "body": fields(described["body"]),
        "request": described["example_request"],
        "response": described["example_response"],
        "answer": fields(described["response"].get("fields"), KEPT_OF_ANSWERS),
        "binary": any(is_binary(one) for one in described["response"].get("alternatives", [])),
    }
    return one


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as source:
        operations = [operation(one) for one in json.load(source)]
    target = pathlib.Path(__file__).parent.parent / "tests/fixtures/ccm/contract.json"
    with open(target, "w", encoding="utf-8") as out:
        out.write("[\n")
        lines = [json.dumps(one, ensure_ascii=False, sort_keys=True) for one in operations]
        out.write(",\n".join(lines))
        out.write("\n]\n")


if __name__ == "__main__":
    main()
