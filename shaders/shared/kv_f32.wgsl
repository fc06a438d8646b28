// KV cache in f32: four elements of one position of one head.
alias kv4 = vec4<f32>;
fn kv_unpack(v: kv4) -> vec4<f32> { return v; }
fn kv_pack(v: vec4<f32>) -> kv4 { return v; }
