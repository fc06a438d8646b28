// A step is chain * 0.75 + x on four numbers of type `num`: 8 operations.
fn start(lane: u32) -> vec4<num> { return vec4<num>(vec4<f32>(1.0, 2.0, 3.0, 4.0) * (f32(lane % 8u) + 1.0) * 0.015625); }
fn mad(chain: vec4<num>, x: vec4<num>) -> vec4<num> { return chain * num(0.75) + x; }
fn finish(v: vec4<num>) -> f32 { return f32(v.x) + f32(v.y) + f32(v.z) + f32(v.w); }
