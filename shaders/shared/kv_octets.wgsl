// What the KV cache's octets (see kv_q8_0.wgsl) look like to kernels. The kernel defines D4, vec4 per head.
const OCTETS: u32 = (D4 + 7u) / 8u;
const D8: u32 = OCTETS * 8u;                                        // D4, padded
const SCALE_WORDS: u32 = select(0u, (OCTETS + 1u) / 2u, KV_SCALED);  // per position
const HEAD_WORDS: u32 = D4 + SCALE_WORDS;                           // per position, of elements and scales
