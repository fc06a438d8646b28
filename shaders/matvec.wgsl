// y[col, y_first + row] (+)= bias[row] + sum_k weights[row, k] * x[col, k], for COLS columns at a time.
// A team (one invocation, one subgroup or one workgroup; see team_*.wgsl) owns ROWS rows of the matrix
// part and strides over their blocks of 32 weights; x is loaded once for the ROWS rows, weights once for the
// COLS columns.
// Columns are tokens of the run; workgroup z picks COLS of them.
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
}
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // [rows, …] see load_*.wgsl
@group(0) @binding(1) var<storage, read> scales: array<u32>;        // [rows, scale_words]
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;       // [n_cols, x_stride]
@group(0) @binding(3) var<storage, read> bias: array<f32>;          // [rows]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;       // [n_cols, y_stride]
@group(0) @binding(5) var<uniform> state: State;

fn store(row: u32, col: u32, v: f32) {
  let i = col * params.y_stride + params.y_first + row;
  var out = v;
  if (params.has_bias == 1u) { out += bias[row]; }
  if (params.accumulate == 1u) { out += y[i]; }
  y[i] = out;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, in: TeamInput) {
  let team = team_of(in, id.y * groups.x + id.x);
  let row0 = team.id * ROWS;
  let n_cols = state.n_tokens - select(0u, state.first_logit, params.of_logits == 1u);
  let col0 = id.z * COLS;
  // Arrays whose loops run over all of them: compilers unroll those, and keep the elements in registers.
  var acc: array<array<f32, COLS>, ROWS>;
  for (var r = 0u; r < ROWS; r++) { for (var c = 0u; c < COLS; c++) { acc[r][c] = 0.0; } }
  for (var b = block_begin(team); b < block_end(row0); b += block_stride(team)) {
    if (COLS == 1u) {
      let xs = load_x(team, col0, b);
      var x_sum = 0.0;
      if (OFFSET) { x_sum = block_sum(xs); }
      for (var r = 0u; r < ROWS; r++) {
        acc[r][0] += quants_dot(load_quants(min(row0 + r, params.rows - 1u), b), xs, x_sum);
      }
    } else {
      var w: array<Quants, ROWS>;
      for (var r = 0u; r < ROWS; r++) { w[r] = load_quants(min(row0 + r, params.rows - 1u), b); }
      for (var c = 0u; c < COLS; c++) {
        let xs = load_x(team, min(col0 + c, n_cols - 1u), b);
        var x_sum = 0.0;
        if (OFFSET) { x_sum = block_sum(xs); }
        for (var r = 0u; r < ROWS; r++) { acc[r][c] += quants_dot(w[r], xs, x_sum); }
      }
    }
  }
  for (var r = 0u; r < ROWS; r++) {
    for (var c = 0u; c < COLS; c++) {
      let sum = team_sum(acc[r][c], team.lane);
      if (team.lane == 0u && row0 + r < params.rows && col0 + c < n_cols) { store(row0 + r, col0 + c, sum); }
    }
  }
}
