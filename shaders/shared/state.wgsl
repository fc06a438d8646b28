// What changes from run to run. Filled by the host, and moved on by `advance` between steps that go together.
struct State {
  pos: u32,          // position of the run's first token
  n_tokens: u32,     // tokens in this run
  first_logit: u32,  // first token of the run whose logits are wanted
  sequence: u32,     // the sequence all tokens belong to; EACH: token i is the next one of sequence i
  positions: array<vec4<u32>, 4>,  // when EACH: positions of the tokens
}
const EACH: u32 = 0xFFFFFFFFu;

fn token_sequence(token: u32) -> u32 { return select(state.sequence, token, state.sequence == EACH); }

// One `return`: with two, Microsoft's FXC takes the result for possibly uninitialized, so not uniform, and
// refuses every barrier in a loop that it bounds.
fn token_position(token: u32) -> u32 {
  let own = state.positions[(token >> 2u) & 3u][token & 3u];
  return select(state.pos + token, own, state.sequence == EACH);
}
