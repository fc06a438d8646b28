"""The shape of the demo model, its tokenizer, and its Hugging Face folder."""
import json, os
import torch

EOT = "<|endoftext|>"
VOCAB, DIM, FFN, LAYERS, HEADS, HEAD_DIM, CTX = 4096, 256, 768, 4, 4, 64, 512
EPS, THETA = 1e-5, 10000.0


def train_tokenizer(docs, out):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(docs, trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=[EOT], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    tok.post_processor = processors.TemplateProcessing(
        single=f"{EOT} $A", pair=f"{EOT} $A {EOT} $B", special_tokens=[(EOT, tok.token_to_id(EOT))])
    assert tok.get_vocab_size() == VOCAB and tok.token_to_id(EOT) == 0
    tok.save(str(out))


def export(p, out):
    from safetensors.torch import save_file
    b = lambda t: t.detach().to(torch.bfloat16).contiguous().clone()
    sd = {"model.embed_tokens.weight": b(p["embed"]), "model.norm.weight": b(p["gain"][-1])}
    for i in range(LAYERS):
        l = f"model.layers.{i}."
        for j, n in enumerate("qkvo"):
            sd[f"{l}self_attn.{n}_proj.weight"] = b(p["attn"][i, j])
        sd[l + "mlp.gate_proj.weight"], sd[l + "mlp.up_proj.weight"] = b(p["mlp"][i, 0]), b(p["mlp"][i, 1])
        sd[l + "mlp.down_proj.weight"] = b(p["mlp"][i, 2].T)
        sd[l + "input_layernorm.weight"] = b(p["gain"][2 * i])
        sd[l + "post_attention_layernorm.weight"] = b(p["gain"][2 * i + 1])
    tmp = out / "model.safetensors.tmp"
    save_file(sd, tmp, metadata={"format": "pt"})
    tmp.chmod(0o644)
    os.replace(tmp, out / "model.safetensors")
    assert (out / "model.safetensors").stat().st_size <= 9_000_000
    dump = lambda name, d: (out / name).write_text(json.dumps(d, indent=2) + "\n")
    dump("config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "vocab_size": VOCAB, "hidden_size": DIM, "intermediate_size": FFN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "head_dim": HEAD_DIM,
        "max_position_embeddings": CTX, "rms_norm_eps": EPS, "rope_theta": THETA, "hidden_act": "silu",
        "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "initializer_range": 0.02,
        "tie_word_embeddings": True, "use_cache": True, "bos_token_id": 0, "eos_token_id": 0})
    dump("generation_config.json", {"bos_token_id": 0, "eos_token_id": 0, "do_sample": True,
                                    "temperature": 0.7, "top_k": 40, "top_p": 0.95})
    dump("tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": EOT, "eos_token": EOT,
        "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False,
        "model_max_length": CTX})
