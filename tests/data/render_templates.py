#!/usr/bin/env python3
"""Renders chat templates with Jinja2 as transformers.apply_chat_template sets it up, for tests/tokenizer.rs.

usage: render_templates.py SHARED_DATA_FOLDER OUTPUT_FOLDER      (needs: pip install jinja2)

Writes one JSON file per template: a list of {case, add_generation_prompt, text or error}. The templates
themselves are not stored, nor is a text over 1000 characters (it consists mostly of a template's own
default prompt): of those the fixture has the CRC-32 and the length in bytes. The conversations stand in conversations.json beside this script, which the
test reads too.
"""
import json
import pathlib
import sys
import zlib

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def main():
    here = pathlib.Path(__file__).parent
    data, out = map(pathlib.Path, sys.argv[1:3])
    templates = {path.stem: path.read_text(encoding="utf-8") for path in sorted((data / "templates").glob("*.jinja"))}
    minimind = json.loads((data / "tokenizers/minimind.tokenizer_config.json").read_text(encoding="utf-8"))
    templates["minimind"] = minimind["chat_template"]
    cases = json.loads((here / "conversations.json").read_text(encoding="utf-8"))
    for name, source in templates.items():
        template = environment().from_string(source)
        results = []
        for case, messages in cases.items():
            for add in (False, True):
                result = {"case": case, "add_generation_prompt": add}
                try:
                    text = template.render(
                        messages=messages, tools=None, documents=None, add_generation_prompt=add,
                        bos_token="<s>", eos_token="</s>",
                    )
                    if len(text) <= 1000:
                        result["text"] = text
                    else:
                        result["crc32"] = zlib.crc32(text.encode())
                        result["bytes"] = len(text.encode())
                except jinja2.exceptions.TemplateError as error:
                    result["error"] = str(error)
                results.append(result)
        text = json.dumps(results, ensure_ascii=False, indent=1) + "\n"
        (out / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
