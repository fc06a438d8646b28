// Data of shaders/read.wgsl in a texture, 1024 texels to a row.
@group(0) @binding(0) var data: texture_storage_2d<rgba32uint, read>;

fn quad(i: u32) -> vec4<u32> { return textureLoad(data, vec2<u32>(i % 1024u, i / 1024u)); }
