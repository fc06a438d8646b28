//! Options and commands of llama.cpp and ollama, and what becomes of them here.

/// How many arguments an option takes behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Value,
    /// One of these, if it comes next.
    Maybe(&'static [&'static str]),
}

/// What becomes of an option.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    /// It is called so here.
    Rename(&'static str),
    /// It changes nothing, because …
    Ignore(&'static str),
    /// Without it the result would be another; what to do instead.
    Refuse(&'static str),
}

use Effect::{Ignore, Refuse, Rename};
use Takes::{Maybe, Nothing, Value};

/// Commands that run models.
const ENGINES: &[&str] = &["run", "bench", "logits", "perplexity", "quality"];
const RUN: &[&str] = &["run"];
const SWITCH: &[&str] = &["on", "off", "auto", "0", "1"];
const LAYERS: &str = "all layers are on the adapter";
pub(super) const THREADS: &str = "the adapter computes, not the processor's threads";
const ATTENTION: &str = "attention never keeps its scores in memory";
const BATCH: &str = "--chunk says how many prompt tokens run at once";
const MAPPED: &str = "files are mapped while loading, then the weights are on the adapter";
const TALK: &str = "without PROMPT a terminal gets a chat";
const GRAMMAR: &str = "what a model says is not bound to a grammar; --json prints the result as one object";
const TEMPLATE: &str = "the template is the model's own; --raw continues a text as it is";
const TYPED: &str =
    "a text is taken as it is typed; where \\n shall end a line, the shell's $'…' makes it so";
const DRAFT: &str = "no second model drafts";
const DEVICES: &str = "`anygpu devices` lists adapters, and --adapter chooses one";
const ONE: &str = "one adapter runs everything; --adapter chooses it";

/// Commands, names, what follows, effect.
pub(super) const TABLE: &[(&[&str], &[&str], Takes, Effect)] = &[
    (ENGINES, &["-ngl", "--n-gpu-layers", "--gpu-layers", "--num-gpu"], Value, Ignore(LAYERS)),
    (ENGINES, &["-t", "--threads", "-tb", "--threads-batch", "--num-thread"], Value, Ignore(THREADS)),
    (ENGINES, &["-fa", "--flash-attn"], Maybe(SWITCH), Ignore(ATTENTION)),
    (ENGINES, &["-ub", "--ubatch-size"], Value, Ignore(BATCH)),
    (RUN, &["-b", "--batch-size"], Value, Ignore(BATCH)),
    (ENGINES, &["--no-mmap", "--mmap", "--mlock", "-mmp"], Maybe(SWITCH), Ignore(MAPPED)),
    (RUN, &["-co", "--color"], Maybe(SWITCH), Ignore("thoughts are dim where a terminal shows it")),
    (RUN, &["-i", "--interactive", "-if", "--interactive-first"], Nothing, Ignore(TALK)),
    (RUN, &["-cnv", "--conversation"], Nothing, Ignore(TALK)),
    (RUN, &["-st", "--single-turn"], Nothing, Ignore("PROMPT gets one answer")),
    (RUN, &["-no-cnv", "--no-conversation"], Nothing, Rename("--raw")),
    (RUN, &["--jinja"], Nothing, Ignore("chat templates are always rendered")),
    (RUN, &["-sys", "--system-prompt"], Value, Rename("--system")),
    (RUN, &["-hf", "-hfr", "--hf-repo"], Value, Rename("--model")),
    (ENGINES, &["-ctk", "--cache-type-k"], Value, Rename("--kv")),
    (ENGINES, &["-ctv", "--cache-type-v"], Value, Ignore("keys and values have one type, --kv")),
    (ENGINES, &["-sm", "--split-mode", "-ts", "--tensor-split", "-mg", "--main-gpu"], Value, Ignore(ONE)),
    (ENGINES, &["-nkvo", "--no-kv-offload"], Nothing, Ignore("the KV cache is on the adapter")),
    (RUN, &["-md", "--model-draft", "--spec-draft-model"], Value, Ignore(DRAFT)),
    (RUN, &["--draft", "--draft-max", "--draft-min"], Value, Ignore(DRAFT)),
    (RUN, &["-e", "--escape", "--no-escape"], Nothing, Ignore(TYPED)),
    (RUN, &["--log-disable", "--simple-io", "--verbose-prompt"], Nothing, Ignore("there is no log")),
    (
        RUN,
        &["-mli", "--multiline-input"],
        Nothing,
        Ignore("three quotation marks begin and end several lines"),
    ),
    (ENGINES, &["-kvu", "--kv-unified"], Nothing, Ignore("there is one sequence")),
    (ENGINES, &["--numa"], Value, Ignore(THREADS)),
    (ENGINES, &["-dev", "--device"], Value, Refuse(DEVICES)),
    (ENGINES, &["--list-devices"], Nothing, Refuse(DEVICES)),
    (RUN, &["--grammar", "--grammar-file", "--json-schema", "--format"], Value, Refuse(GRAMMAR)),
    (RUN, &["--chat-template", "--chat-template-file"], Value, Refuse(TEMPLATE)),
    (ENGINES, &["--lora", "--lora-scaled"], Value, Refuse("merge it into the model first")),
    (RUN, &["--mmproj", "--image", "--audio"], Value, Refuse("models read text only here")),
    (&["quantize"], &["--imatrix"], Value, Refuse("types are chosen by the weights alone; see --mix")),
    (&["quantize"], &["--pure", "--leave-output-tensor"], Nothing, Ignore("see --mix for types that differ")),
    (RUN, &["--no-warmup", "--warmup"], Nothing, Ignore("nothing is warmed up")),
    (RUN, &["--verbose"], Nothing, Rename("--stats")),
    (RUN, &["--keepalive"], Value, Ignore("no program stays behind")),
    (RUN, &["--nowordwrap"], Nothing, Ignore("lines are not wrapped")),
    (RUN, &["--think=false", "--nothink"], Nothing, Rename("--no-think")),
    (RUN, &["--think", "--think=true"], Nothing, Ignore("models that think do so by default")),
];

/// Commands elsewhere, and what does their work here.
pub(super) const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["list", "ls", "models"],
        "a model is a file or folder of yours, run by its path; `anygpu info` shows what the \
         cache holds",
    ),
    (
        &["pull", "download", "get", "fetch", "install"],
        "models are not downloaded here: get one with `hf download org/name --local-dir name`, then `anygpu run name`",
    ),
    (
        &["serve", "server", "start", "api"],
        "there is no server; `anygpu run MODEL PROMPT --json` answers programs",
    ),
    (&["ps", "stop", "kill"], "no model stays loaded when `anygpu run` has ended"),
    (&["show", "inspect"], "`anygpu plan MODEL` shows a model's size, memory and speed"),
    (&["rm", "remove", "delete", "cp"], "models are files of yours: remove or copy them as such"),
    (
        &["create", "convert", "push"],
        "models run as they are: a .gguf file or a folder with safetensors; `anygpu quantize` writes GGUF",
    ),
    (&["llama-cli", "llama-run", "cli"], "it is `anygpu run`, or nothing at all: anygpu -m MODEL -p PROMPT"),
    (&["llama-bench"], "it is `anygpu bench`"),
    (&["llama-quantize"], "it is `anygpu quantize`"),
    (&["llama-perplexity"], "it is `anygpu perplexity`"),
    (&["llama-server"], "there is no server; `anygpu run MODEL PROMPT --json` answers programs"),
    (&["embed", "embedding", "embeddings"], "embeddings are not computed; `anygpu logits` prints logits"),
];
