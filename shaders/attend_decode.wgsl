// Attention of a token over its KV cache by a workgroup; see shared/decode.wgsl.
// Scores: an invocation is a position. Values: an invocation is four elements of V and every SLICES-th position.
const SLICES: u32 = WG / D4;
const_assert(SLICES > 0u);
var<workgroup> q_scale: array<f32, HEADS + 1u>;        // of every query head, and of the key
var<workgroup> q_tile: array<vec4<f32>, MOST * D8>;    // [head, d8], rotated; zero where there is nothing
var<workgroup> raw_own: array<vec4<f32>, 2u * D8>;     // this position: K, then V
var<workgroup> k_own: array<vec4<f32>, D8>;            // the same as the cache keeps it
var<workgroup> v_own: array<vec4<f32>, D8>;
var<workgroup> p_tile: array<vec4<f32>, WG * GV>;      // [position, four heads]
var<workgroup> o_tile: array<vec4<f32>, WG>;           // [slice, d4]

fn head_scale(slot: u32) -> f32 {
  if (QK_NORM) { return q_scale[slot]; }
  return 1.0;
}

// Element e of the head that begins at qkv[begin], normed by the scale in `slot` and rotated.
fn rotated(begin: u32, slot: u32, weight: u32, e: u32, pos: u32) -> f32 {
  let scale = head_scale(slot);
  let v = normed(begin, scale, weight, e);
  if (e >= ROTARY) { return v; }
  let pair = rotary_pair(e);
  return turned(v, normed(begin, scale, weight, pair.other), angle_at(pos, pair.angle), pair.second);
}

fn rotated4(begin: u32, slot: u32, weight: u32, e: u32, pos: u32) -> vec4<f32> {
  return vec4<f32>(
    rotated(begin, slot, weight, e, pos), rotated(begin, slot, weight, e + 1u, pos),
    rotated(begin, slot, weight, e + 2u, pos), rotated(begin, slot, weight, e + 3u, pos));
}

// Squares of element e of four query heads from `begin` on, of which `heads` exist.
fn squares4(begin: u32, heads: u32, e: u32) -> vec4<f32> {
  var v = vec4<f32>();
  if (heads > 0u) { v.x = qkv[begin + e]; }
  if (heads > 1u) { v.y = qkv[begin + HEAD_DIM + e]; }
  if (heads > 2u) { v.z = qkv[begin + 2u * HEAD_DIM + e]; }
  if (heads > 3u) { v.w = qkv[begin + 3u * HEAD_DIM + e]; }
  return v * v;
}

fn unrounded(i: u32) -> vec4<f32> { return raw_own[i]; }

// Eight vec4 of a query, from q_tile[at] on.
fn query(at: u32) -> Block32 {
  return Block32(
    q_tile[at], q_tile[at + 1u], q_tile[at + 2u], q_tile[at + 3u],
    q_tile[at + 4u], q_tile[at + 5u], q_tile[at + 6u], q_tile[at + 7u]);
}

// Weight of the j-th of a slice's positions from `first` on, of four heads; 0 past the tile, and in what no slice is.
fn weight_of(first: u32, slice: u32, j: u32, g: u32) -> vec4<f32> {
  let at = first + slice + j * SLICES;
  if (slice >= SLICES || at >= WG) { return vec4<f32>(); }
  return p_tile[at * GV + g];
}

fn weights_of(first: u32, slice: u32, g: u32) -> Block32 {
  return Block32(
    weight_of(first, slice, 0u, g), weight_of(first, slice, 1u, g),
    weight_of(first, slice, 2u, g), weight_of(first, slice, 3u, g),
    weight_of(first, slice, 4u, g), weight_of(first, slice, 5u, g),
    weight_of(first, slice, 6u, g), weight_of(first, slice, 7u, g));
}

// `main` is in reduce_*.wgsl: what it takes of an invocation differs.
fn body(id: vec3<u32>, groups: vec3<u32>, in: ReduceInput) {
  let work = work_of(id, groups.z);
  let d = in.lane % D4;
  let slice = in.lane / D4;

  if (QK_NORM) {
    for (var g = 0u; g <= GV; g++) {
      // The last turn is the key's.
      let begin = select(work.q_begin + g * 4u * HEAD_DIM, work.k_begin, g == GV);
      let count = select(work.heads - min(work.heads, g * 4u), 1u, g == GV);
      var own = vec4<f32>();
      for (var e = in.lane; e < HEAD_DIM; e += WG) { own += squares4(begin, count, e); }
      let scale = inverseSqrt(wg_sum4(own, in) / f32(HEAD_DIM) + params.eps);
      if (in.lane < 4u && g * 4u + in.lane <= HEADS) { q_scale[g * 4u + in.lane] = scale[in.lane]; }
    }
    workgroupBarrier();
  }
  for (var i = in.lane; i < MOST * D8; i += WG) {
    let h = i / D8;
    let e = (i % D8) * 4u;
    var q = vec4<f32>();
    if (h < work.heads && e < HEAD_DIM) { q = rotated4(work.q_begin + h * HEAD_DIM, h, 0u, e, work.pos); }
    q_tile[i] = q;
  }
  let writes = work.first_head == 0u && id.z == 0u;
  for (var i = in.lane; i < D8; i += WG) {
    let e = i * 4u;
    raw_own[i] = rotated4(work.k_begin, HEADS, HEAD_DIM, e, work.pos);
    raw_own[D8 + i] = raw4(work.v_begin, e);
  }
  // Without scales every invocation goes on with what it wrote itself.
  if (KV_SCALED) { workgroupBarrier(); }
  for (var i = in.lane; i < D8; i += WG) {
    let octet = i & ~7u;
    let k_scale = octet_scale(octet);
    let v_scale = octet_scale(D8 + octet);
    let k = kv_pack(raw_own[i], k_scale);
    let v = kv_pack(raw_own[D8 + i], v_scale);
    if (writes && i < D4) {
      k_cache[work.base + work.pos * D4 + i] = k;
      v_cache[work.base + work.pos * D4 + i] = v;
    }
    k_own[i] = kv_unpack(k, k_scale);
    v_own[i] = kv_unpack(v, v_scale);
  }
  for (var i = in.lane; i < SCALE_WORDS; i += WG) {
    // The last word may have no second octet.
    let low = i * 16u;
    let high = min(low + 8u, D8 - 8u);
    if (writes) {
      k_cache[work.scales + work.pos * SCALE_WORDS + i] = kv_halves(octet_half(low), octet_half(high));
      v_cache[work.scales + work.pos * SCALE_WORDS + i] = kv_halves(octet_half(D8 + low), octet_half(D8 + high));
    }
  }
  workgroupBarrier();

  var top: array<vec4<f32>, GV>;     // running maximum per head, the same in all invocations
  var total: array<vec4<f32>, GV>;   // this invocation's share of the softmax denominator
  var acc: array<vec4<f32>, HEADS>;  // four output elements per head, this slice's share
  for (var h = 0u; h < HEADS; h++) { acc[h] = vec4<f32>(); }
  for (var g = 0u; g < GV; g++) {
    var own = vec4<f32>();
    for (var i = in.lane; i < D8; i += WG) {
      let k = k_own[i];
      let h = g * 4u * D8 + i;
      own.x += dot(q_tile[h], k);
      if (g * 4u + 1u < MOST) { own.y += dot(q_tile[h + D8], k); }
      if (g * 4u + 2u < MOST) { own.z += dot(q_tile[h + 2u * D8], k); }
      if (g * 4u + 3u < MOST) { own.w += dot(q_tile[h + 3u * D8], k); }
    }
    let own_score = wg_sum4(own, in) * params.scale;
    top[g] = select(vec4<f32>(LOWEST), own_score, id.z == 0u);
    total[g] = select(vec4<f32>(), own_weight(own_score), id.z == 0u && in.lane == 0u);
    if (id.z == 0u && slice == 0u) {
      let v = v_own[d];
      acc[g * 4u] = v; acc[g * 4u + 1u] = v; acc[g * 4u + 2u] = v; acc[g * 4u + 3u] = v;
    }
  }

  for (var tile = work.start + id.z * WG; tile < work.pos; tile += groups.z * WG) {
    let p = tile + in.lane;
    var score: array<vec4<f32>, GV>;
    for (var g = 0u; g < GV; g++) { score[g] = vec4<f32>(); }
    for (var o = 0u; o < OCTETS; o++) {
      let k = load_keys(work, p, o);
      for (var g = 0u; g < GV; g++) {
        let h = g * 4u;
        let at = h * D8 + o * 8u;
        score[g].x += block_dot(query(at), k);
        if (h + 1u < MOST) { score[g].y += block_dot(query(at + D8), k); }
        if (h + 2u < MOST) { score[g].z += block_dot(query(at + 2u * D8), k); }
        if (h + 3u < MOST) { score[g].w += block_dot(query(at + 3u * D8), k); }
      }
    }
    for (var g = 0u; g < GV; g++) {
      let s = select(vec4<f32>(LOWEST), score[g] * params.scale, p < work.pos);
      let new_top = max(top[g], wg_max4(s, in));
      let shrink = exp(top[g] - new_top);
      let weight = select(vec4<f32>(), exp(s - new_top), p < work.pos);
      top[g] = new_top;
      total[g] = total[g] * shrink + weight;
      p_tile[in.lane * GV + g] = weight;
      acc[g * 4u] *= shrink.x;
      acc[g * 4u + 1u] *= shrink.y;
      acc[g * 4u + 2u] *= shrink.z;
      acc[g * 4u + 3u] *= shrink.w;
    }
    workgroupBarrier();
    for (var first = 0u; first < WG; first += 8u * SLICES) {
      // Eight positions, every SLICES-th: this slice's.
      let v = load_values(work, tile + first + slice, SLICES, d);
      for (var g = 0u; g < GV; g++) {
        let w = weights_of(first, slice, g);
        let h = g * 4u;
        acc[h] += weighted(w, v, 0u);
        if (h + 1u < MOST) { acc[h + 1u] += weighted(w, v, 1u); }
        if (h + 2u < MOST) { acc[h + 2u] += weighted(w, v, 2u); }
        if (h + 3u < MOST) { acc[h + 3u] += weighted(w, v, 3u); }
      }
    }
    workgroupBarrier();
  }

  for (var g = 0u; g < GV; g++) {
    let sum = wg_sum4(total[g], in);
    for (var j = 0u; j < min(4u, MOST - g * 4u); j++) {
      let h = g * 4u + j;
      o_tile[in.lane] = acc[h];
      workgroupBarrier();
      if (in.lane < D4 && h < work.heads) {
        var o = vec4<f32>();
        for (var s = 0u; s < SLICES; s++) { o += o_tile[s * D4 + in.lane]; }
        store(work, groups.z, h, in.lane, o, top[g][j], sum[j]);
      }
      workgroupBarrier();
    }
  }
}
