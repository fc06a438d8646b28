// What changes from run to run. Filled by the host before each run.
struct State {
  pos: u32,          // position of the run's first token
  n_tokens: u32,     // tokens in this run
  first_logit: u32,  // first token of the run whose logits are wanted
  pad: u32,
}
