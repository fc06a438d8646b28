// Attention of a token over its KV cache by one subgroup; see shared/decode.wgsl. For CPU adapters, to which a barrier is a
// function that stops and goes on, with all that it holds in memory: here is none, nor any workgroup memory.
// SUBGROUP is the one size of subgroups, at least 8. An invocation holds every eighth vec4 of a head, in all groups of eight
// invocations the same. Scores: an invocation is a position. Values: a group of eight is eight positions.
alias Head = array<vec4<f32>, OCTETS>;

// 1 or 1 / RMS of the head that begins at qkv[begin].
fn norm_scale(begin: u32, lane: u32) -> f32 {
  if (!QK_NORM) { return 1.0; }
  var squares = 0.0;
  for (var e = lane; e < HEAD_DIM; e += SUBGROUP) {
    let v = qkv[begin + e];
    squares += v * v;
  }
  return inverseSqrt(subgroupAdd(squares) / f32(HEAD_DIM) + params.eps);
}

fn normed4(begin: u32, scale: f32, weight: u32, e: u32) -> vec4<f32> {
  return vec4<f32>(
    normed(begin, scale, weight, e), normed(begin, scale, weight, e + 1u),
    normed(begin, scale, weight, e + 2u), normed(begin, scale, weight, e + 3u));
}

// Cosines and sines of an invocation's part of a head, the sines with the sign of turned(). Of no use from ROTARY on.
struct Turn {
  cosines: Head,
  sines: Head,
}

fn turn_of(own: u32, pos: u32) -> Turn {
  var turn: Turn;
  for (var o = 0u; o < OCTETS; o++) {
    for (var c = 0u; c < 4u; c++) {
      let e = (o * 8u + own) * 4u + c;
      if (e < ROTARY) {
        let pair = rotary_pair(e);
        let angle = angle_at(pos, pair.angle);
        turn.cosines[o][c] = angle.x;
        turn.sines[o][c] = select(-angle.y, angle.y, pair.second);
      }
    }
  }
  return turn;
}

// What vec4 own of octet o turns with. Most heads have it in the same invocation.
fn partner(head: Head, begin: u32, scale: f32, weight: u32, o: u32, own: u32) -> vec4<f32> {
  if (INTERLEAVED) { return head[o].yxwz; }
  if (ROTARY % 64u == 0u) {
    let apart = ROTARY / 64u;
    return head[min(select(o + apart, o - min(o, apart), o >= apart), OCTETS - 1u)];
  }
  var v = vec4<f32>();
  for (var c = 0u; c < 4u; c++) {
    let e = (o * 8u + own) * 4u + c;
    if (e < ROTARY) { v[c] = normed(begin, scale, weight, rotary_pair(e).other); }
  }
  return v;
}

// The head that begins at qkv[begin], normed and rotated.
fn rotated(begin: u32, weight: u32, turn: Turn, lane: u32) -> Head {
  let own = lane & 7u;
  let scale = norm_scale(begin, lane);
  var head: Head;
  for (var o = 0u; o < OCTETS; o++) { head[o] = normed4(begin, scale, weight, (o * 8u + own) * 4u); }
  var turned: Head;
  for (var o = 0u; o < OCTETS; o++) {
    let v = head[o] * turn.cosines[o] + partner(head, begin, scale, weight, o, own) * turn.sines[o];
    let e = vec4<u32>((o * 8u + own) * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    turned[o] = select(head[o], v, e < vec4<u32>(ROTARY));
  }
  return turned;
}

// The scale of an octet of which every invocation holds a part, as 16 bits.
fn half_of(v: vec4<f32>) -> u32 {
  if (!KV_SCALED) { return 0u; }
  let most = abs(v);
  let bad = subgroupMax(select(0u, 1u, any(kv_nan(v)))) > 0u;
  return kv_half(subgroupMax(max(max(most.x, most.y), max(most.z, most.w))), bad);
}

// What the invocations of this one's group of eight hold.
fn of_eight(v: vec4<f32>, lane: u32) -> Block32 {
  if (SUBGROUP == 8u) { return broadcast8(v); }
  let at = lane & ~7u;
  return Block32(
    subgroupShuffle(v, at), subgroupShuffle(v, at + 1u), subgroupShuffle(v, at + 2u), subgroupShuffle(v, at + 3u),
    subgroupShuffle(v, at + 4u), subgroupShuffle(v, at + 5u), subgroupShuffle(v, at + 6u), subgroupShuffle(v, at + 7u));
}

fn maximum(v: vec4<f32>) -> vec4<f32> {
  if (SUBGROUP != 8u) { return subgroupMax(v); }
  let b = broadcast8(v);  // measured on llvmpipe: attention in 0.85 to 0.9 of the time
  return max(max(max(b.a, b.b), max(b.c, b.d)), max(max(b.e, b.f), max(b.g, b.h)));
}

@compute @workgroup_size(SUBGROUP)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let work = work_of(id, groups.z);
  let own = lane & 7u;
  let turn = turn_of(own, work.pos);
  var q: array<Head, MOST>;
  for (var h = 0u; h < MOST; h++) {
    // A head that is not there is the first one again.
    q[h] = rotated(work.q_begin + select(0u, h * HEAD_DIM, h < work.heads), 0u, turn, lane);
  }
  let raw_k = rotated(work.k_begin, HEAD_DIM, turn, lane);

  let first = id.z == 0u && lane < 8u;
  let writes = first && work.first_head == 0u;
  var halves: array<vec2<u32>, OCTETS>;       // scales of K and V
  var own_score = array<f32, HEADS>();
  var acc: array<Head, MOST>;                 // this invocation's share of the output
  for (var o = 0u; o < OCTETS; o++) {
    let d = o * 8u + own;
    let raw_v = raw4(work.v_begin, d * 4u);
    halves[o] = vec2<u32>(half_of(raw_k[o]), half_of(raw_v));
    let k_scale = unpack2x16float(halves[o].x).x;
    let v_scale = unpack2x16float(halves[o].y).x;
    let k = kv_pack(raw_k[o], k_scale);
    let v = kv_pack(raw_v, v_scale);
    if (writes && d < D4) {
      k_cache[work.base + work.pos * D4 + d] = k;
      v_cache[work.base + work.pos * D4 + d] = v;
    }
    for (var h = 0u; h < MOST; h++) {
      own_score[h] += dot(q[h][o], kv_unpack(k, k_scale));
      acc[h][o] = select(vec4<f32>(), kv_unpack(v, v_scale), first);
    }
  }
  if (writes && lane == 0u) {
    for (var i = 0u; i < SCALE_WORDS; i++) {
      // The last word may have no second octet.
      let low = halves[2u * i];
      let high = halves[min(2u * i + 1u, OCTETS - 1u)];
      k_cache[work.scales + work.pos * SCALE_WORDS + i] = kv_halves(low.x, high.x);
      v_cache[work.scales + work.pos * SCALE_WORDS + i] = kv_halves(low.y, high.y);
    }
  }
  var top: array<vec4<f32>, GV>;    // running maximum per head, the same in all invocations
  var total: array<vec4<f32>, GV>;  // this invocation's share of the softmax denominator
  for (var g = 0u; g < GV; g++) {
    let h = g * 4u;
    let s = vec4<f32>(own_score[h], own_score[h + 1u], own_score[h + 2u], own_score[h + 3u]);
    let sum = subgroupAdd(select(vec4<f32>(), s, first)) * params.scale;
    top[g] = select(vec4<f32>(LOWEST), sum, id.z == 0u);
    total[g] = select(vec4<f32>(), own_weight(sum), id.z == 0u && lane == 0u);
  }

  for (var tile = work.start + id.z * SUBGROUP; tile < work.pos; tile += groups.z * SUBGROUP) {
    let p = tile + lane;
    var score: array<vec4<f32>, GV>;
    for (var g = 0u; g < GV; g++) { score[g] = vec4<f32>(); }
    for (var o = 0u; o < OCTETS; o++) {
      let k = load_keys(work, p, o);
      for (var g = 0u; g < GV; g++) {
        let h = g * 4u;
        score[g].x += block_dot(broadcast8(q[h][o]), k);
        if (h + 1u < MOST) { score[g].y += block_dot(broadcast8(q[h + 1u][o]), k); }
        if (h + 2u < MOST) { score[g].z += block_dot(broadcast8(q[h + 2u][o]), k); }
        if (h + 3u < MOST) { score[g].w += block_dot(broadcast8(q[h + 3u][o]), k); }
      }
    }
    var weights: array<Block32, GV>;  // of this group's eight positions
    for (var g = 0u; g < GV; g++) {
      let s = select(vec4<f32>(LOWEST), score[g] * params.scale, p < work.pos);
      let new_top = max(top[g], maximum(s));
      let shrink = exp(top[g] - new_top);
      let weight = select(vec4<f32>(), exp(s - new_top), p < work.pos);
      top[g] = new_top;
      total[g] = total[g] * shrink + weight;
      weights[g] = of_eight(weight, lane);
      for (var j = 0u; j < min(4u, MOST - g * 4u); j++) {
        for (var o = 0u; o < OCTETS; o++) { acc[g * 4u + j][o] *= shrink[j]; }
      }
    }
    for (var o = 0u; o < OCTETS; o++) {
      let v = load_values(work, tile + (lane & ~7u), 1u, min(o * 8u + own, D4 - 1u));
      for (var g = 0u; g < GV; g++) {
        let h = g * 4u;
        acc[h][o] += weighted(weights[g], v, 0u);
        if (h + 1u < MOST) { acc[h + 1u][o] += weighted(weights[g], v, 1u); }
        if (h + 2u < MOST) { acc[h + 2u][o] += weighted(weights[g], v, 2u); }
        if (h + 3u < MOST) { acc[h + 3u][o] += weighted(weights[g], v, 3u); }
      }
    }
  }

  for (var g = 0u; g < GV; g++) {
    let sum = subgroupAdd(total[g]);
    for (var j = 0u; j < min(4u, MOST - g * 4u); j++) {
      let h = g * 4u + j;
      for (var o = 0u; o < OCTETS; o++) {
        var v = acc[h][o];
        for (var reach = 8u; reach < SUBGROUP; reach *= 2u) { v += subgroupShuffleXor(v, reach); }
        let d = o * 8u + own;
        if (h < work.heads && lane < 8u && d < D4) { store(work, groups.z, h, d, v, top[g][j], sum[j]); }
      }
    }
  }
}
