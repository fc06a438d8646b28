// f16 number `i` of a plane that packs two per word, in the word that holds it.
fn half_at(pair: u32, i: u32) -> f32 {
  let both = unpack2x16float(pair);
  return select(both.x, both.y, (i & 1u) == 1u);
}
