"""Ids of a few texts under every pre-tokenizer's name, with Qwen2's vocabulary, by llama.cpp.

    pip install llama-cpp-python==0.3.36
    python make_pre_tokenizers.py SHARED_DATA/tokenizers/ggml-vocab-qwen2.gguf > pre_tokenizers.json
"""

import json
import sys

from llama_cpp import Llama

NAMES = """
midm-2.0 glm4 minicpm5 jais-2 kormo laguna seed-coder ufakzeka bailingmoe exaone-moe
bloom viking superbpe youtu chameleon gpt-4o tiny_aya deepseek-v3 spark2_5 afmoe
""".split()
TEXTS = [
    "It's 12345 IDs, HelloWorld!",
    "We'LL see:  1234567 (x+y)\n\n\n  end.\n",
    "a!\n\nb\r\nc",
    "日本語テスト、中文。한국어 สวัสดี",
    "x = [1, 2];\tif(a){b}  // No'S",
    "İstanbul'da 99 kişi; Éclair ñandú",
    "    indented\n\t\ttabs   ",
    "foo.bar_baz/QUX-42?!...ok",
    "price $3.50 <b>bold</b> ~`|^",
    "नमस्ते दुनिया é",
]


def main():
    rows = []
    for name in NAMES:
        overrides = {"tokenizer.ggml.pre": name}
        model = Llama(model_path=sys.argv[1], vocab_only=True, verbose=False, kv_overrides=overrides)
        ids = [model.tokenize(text.encode(), add_bos=False, special=False) for text in TEXTS]
        rows.append(f" {json.dumps(name)}: {json.dumps(ids, separators=(',', ':'))}")
    texts = json.dumps(TEXTS, ensure_ascii=False)
    print('{"texts": ' + texts + ',\n"ids": {\n' + ",\n".join(rows) + "\n}}")


main()
