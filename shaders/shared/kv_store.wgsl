// For kernels that write the KV cache: the scale of an octet, as 16 bits, and as a number. The kernel defines unrounded(i), the
// i-th vec4 of what it stores.
fn octet_half(first: u32) -> u32 {
  if (!KV_SCALED) { return 0u; }
  var most = vec4<f32>();
  var bad = false;
  for (var j = 0u; j < 8u; j++) {
    let v = unrounded(first + j);
    most = max(most, abs(v));
    bad = bad || any(kv_nan(v));
  }
  return kv_half(max(max(most.x, most.y), max(most.z, most.w)), bad);
}
fn octet_scale(first: u32) -> f32 { return unpack2x16float(octet_half(first)).x; }
