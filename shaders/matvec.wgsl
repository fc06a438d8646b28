// y[col, y_first + row] (+)= bias[row] + sum_k weights[row, k] * x[col, k], for COLS columns at a time.
// A team (one invocation, one subgroup or one workgroup; see team_*.wgsl) owns ROWS rows of the matrix
// part and strides over their blocks of 32 weights; x is loaded once for the ROWS rows, weights once for the
// COLS columns. Columns are tokens of the run; workgroup z picks COLS of them.
// With weights_int8.wgsl, x is rounded to bytes on the way, and bytes are multiplied.
// With NORM, x is normed on the way: x * norm / sqrt(mean(x^2) + eps) (Zhang & Sennrich 2019). The division is the same
// for a whole column, so it comes last, and a team has seen all of x by then.
// With GLU, the part holds gate rows and then as many up rows, and y[col, row] = act(gate) * up (Shazeer 2020). A team's
// rows are pairs: gate and up of one output.
struct Params {
  rows: u32,         // rows of this part
  blocks: u32,       // blocks of 32 per row
  scale_words: u32,  // words of `scales` per row
  x_stride: u32,     // vec4 per row of x
  y_stride: u32,     // floats per row of y
  y_first: u32,      // this part's first column in y
  accumulate: u32,   // 1: y += , 0: y =
  has_bias: u32,
  of_logits: u32,    // 1: columns are the tokens whose logits are wanted
  norm_cols: u32,    // floats of a row of x that count in its mean
  norm_eps: f32,
  norm_unit: f32,    // of the norm's weights, so small that no product with x overflows before it is scaled
}
// bindings 0 and 1, quants and scales: see planes_*.wgsl
// binding 2, x: [n_cols, x_stride] vec4, tails zero; see x_storage.wgsl and x_constants.wgsl
@group(0) @binding(3) var<storage, read> vectors: array<vec4<f32>>;  // with NORM its weights [x_stride] · unit, tail zero; bias [rows]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;        // [n_cols, y_stride]
@group(0) @binding(5) var<uniform> state: State;

// An output is one row of the part, or two with GLU.
const PER: u32 = select(1u, 2u, GLU);

// The output that the team's r-th row is for, maybe beyond the last. Teams next to each other have neighbouring outputs in
// a tile: invocations that load together find their weights together.
fn output_of(team: u32, r: u32) -> u32 {
  if (TILED) { return (team / 8u * (ROWS / PER) + r / PER) * 8u + team % 8u; }
  return team * (ROWS / PER) + r / PER;
}

// Where its weights are: with GLU, first all gates, then all ups.
fn row_of(team: u32, r: u32) -> u32 {
  let outputs = params.rows / PER;
  return min(output_of(team, r), outputs - 1u) + r % PER * outputs;
}

fn bias_at(row: u32) -> f32 {
  if (params.has_bias == 0u) { return 0.0; }
  return vectors[select(0u, params.x_stride, NORM) + row / 4u][row % 4u];
}

// What a norm leaves of column `col` whose squares overflow: nothing, as 1 / sqrt(infinity) is 0, however
// large the sums of products are; but NaN where x itself is not finite.
fn vanished(col: u32) -> f32 {
  var bad = false;
  for (var i = col * params.x_stride; i < (col + 1u) * params.x_stride; i++) {
    let exponents = bitcast<vec4<u32>>(x[i]) & vec4<u32>(0x7F800000u);
    bad = bad || any(exponents == vec4<u32>(0x7F800000u));
  }
  return bitcast<f32>(select(0u, 0x7FC00000u, bad));
}

fn scaled(sum: f32, scale: f32, rest: f32) -> f32 { return select(sum * scale, rest, NORM && scale == 0.0); }

// `main` is in team_*.wgsl: what it takes of an invocation differs.
fn body(id: vec3<u32>, groups: vec3<u32>, in: TeamInput) {
  let team = team_of(in, id.y * groups.x + id.x);
  let row0 = output_of(team.id, 0u) * PER;
  let first_col = select(0u, state.first_logit, params.of_logits == 1u);
  let n_cols = state.n_tokens - first_col;
  let col0 = id.z * COLS;
  // A norm of its own has left out the tokens whose logits nobody wants.
  let first_x = select(0u, first_col, NORM);
  // Arrays whose loops run over all of them: compilers unroll those, and keep the elements in registers.
  var acc: array<array<f32, COLS>, ROWS>;
  var squares: array<f32, COLS>;
  for (var c = 0u; c < COLS; c++) { squares[c] = 0.0; }
  for (var r = 0u; r < ROWS; r++) { for (var c = 0u; c < COLS; c++) { acc[r][c] = 0.0; } }
  for (var b = block_begin(team); b < block_end(row0); b += block_stride(team)) {
    let gains = load_gains(team, b);
    if (COLS == 1u) {
      let xs = load_x(team, first_x + col0, b, gains);
      squares[0] += xs.squares;
      var x_sum = 0.0;
      if (OFFSET) { x_sum = block_sum(xs.v); }
      for (var r = 0u; r < ROWS; r++) {
        acc[r][0] += quants_dot(load_quants(row_of(team.id, r), b), xs.v, x_sum);
      }
    } else {
      var w: array<Quants, ROWS>;
      for (var r = 0u; r < ROWS; r++) { w[r] = load_quants(row_of(team.id, r), b); }
      for (var c = 0u; c < COLS; c++) {
        let xs = load_x(team, first_x + min(col0 + c, n_cols - 1u), b, gains);
        squares[c] += xs.squares;
        var x_sum = 0.0;
        if (OFFSET) { x_sum = block_sum(xs.v); }
        if (TILED) {
          // Four activations for all rows, then the next four: they stay in registers.
          var dots: array<Sum, ROWS>;
          for (var r = 0u; r < ROWS; r++) { dots[r] = dot4(w[r].q.a, xs.v.a, Sum()); }
          for (var r = 0u; r < ROWS; r++) { dots[r] = dot4(w[r].q.b, xs.v.b, dots[r]); }
          for (var r = 0u; r < ROWS; r++) { dots[r] = dot4(w[r].q.c, xs.v.c, dots[r]); }
          for (var r = 0u; r < ROWS; r++) { dots[r] = dot4(w[r].q.d, xs.v.d, dots[r]); }
          for (var r = 0u; r < ROWS; r++) { dots[r] = dot4(w[r].q.e, xs.v.e, dots[r]); }
          for (var r = 0u; r < ROWS; r++) { dots[r] = dot4(w[r].q.f, xs.v.f, dots[r]); }
          for (var r = 0u; r < ROWS; r++) { dots[r] = dot4(w[r].q.g, xs.v.g, dots[r]); }
          for (var r = 0u; r < ROWS; r++) { dots[r] = dot4(w[r].q.h, xs.v.h, dots[r]); }
          for (var r = 0u; r < ROWS; r++) { acc[r][c] += quants_scaled(w[r], dots[r], xs.v, x_sum); }
        } else {
          for (var r = 0u; r < ROWS; r++) { acc[r][c] += quants_dot(w[r], xs.v, x_sum); }
        }
      }
    }
  }
  for (var c = 0u; c < COLS; c++) {
    var scale = 1.0;
    var rest = 0.0;  // in place of scaled sums, where the scale is 0
    if (NORM) {
      scale = inverseSqrt(team_squares(squares[c], team) / f32(params.norm_cols) + params.norm_eps) * params.norm_unit;
      if (scale == 0.0) { rest = vanished(first_x + min(col0 + c, n_cols - 1u)); }
    }
    let begin = (col0 + c) * params.y_stride + params.y_first;
    if (GLU) {
      for (var r = 0u; r < ROWS; r += 2u) {
        let gate = scaled(team_sum(acc[r][c], team.lane), scale, rest);
        let up = scaled(team_sum(acc[r + 1u][c], team.lane), scale, rest);
        let out = output_of(team.id, r);
        if (team.lane == 0u && out * PER < params.rows && col0 + c < n_cols) {
          y[begin + out] = act(gate + bias_at(row_of(team.id, r))) * (up + bias_at(row_of(team.id, r + 1u)));
        }
      }
    } else {
      for (var r = 0u; r < ROWS; r++) {
        let sum = scaled(team_sum(acc[r][c], team.lane), scale, rest);
        let row = output_of(team.id, r);
        if (team.lane == 0u && row < params.rows && col0 + c < n_cols) {
          let i = begin + row;
          var out = sum + bias_at(row);
          if (params.accumulate == 1u) { out += y[i]; }
          y[i] = out;
        }
      }
    }
  }
}
