//! The KV cache as kernels see it: per layer K and V, each [kv_heads, context, head_dim] with head_dim rounded up to a
//! multiple of 4, in q8_0 with the scales of a head behind its elements: [context, words].

pub use crate::base::KvType;
use crate::gpu::Snippet;
use crate::kernels::weights::snippet;

/// Weights of q8_0 that share a scale.
const BLOCK: usize = 32;

impl KvType {
    /// The files that pack and unpack.
    pub fn snippets(self) -> [Snippet; 2] {
        let own = match self {
            KvType::F16 => snippet!("shared/kv_f16.wgsl"),
            KvType::F32 => snippet!("shared/kv_f32.wgsl"),
            KvType::Q8_0 => snippet!("shared/kv_q8_0.wgsl"),
        };
        [own, snippet!("shared/kv_octets.wgsl")]
    }

    /// As [`KvType::snippets`], for kernels that also write the cache.
    pub fn writing_snippets(self) -> [Snippet; 3] {
        let [own, octets] = self.snippets();
        [own, octets, snippet!("shared/kv_store.wgsl")]
    }

    /// What storing a head of one position and reading it back gives.
    pub fn round(self, head: &[f32]) -> Vec<f32> {
        match self {
            KvType::F32 => head.to_vec(),
            KvType::F16 => {
                head.iter().map(|v| half::f16::from_f32(v.clamp(-65504.0, 65504.0)).to_f32()).collect()
            }
            KvType::Q8_0 => head.chunks(BLOCK).flat_map(|block| bytes_of(block).1).collect(),
        }
    }

    /// How far storing may move the elements of a head of one position: half an ulp, or half a step; a scale may be rounded
    /// either way.
    pub fn rounding(self, head: &[f64]) -> Vec<f64> {
        match self {
            KvType::F32 => vec![0.0; head.len()],
            KvType::F16 => head.iter().map(|v| v.abs() * 2.0f64.powi(-11) + 2.0f64.powi(-25)).collect(),
            KvType::Q8_0 => {
                let step = |block: &[f64]| block.iter().fold(0.0, |most: f64, v| most.max(v.abs())) / 127.0;
                let of_block = |block: &[f64]| vec![0.58 * step(block) + 2.0f64.powi(-18); block.len()];
                head.chunks(BLOCK).flat_map(of_block).collect()
            }
        }
    }

    /// Encodes heads of `context` positions of `row` elements each as the cache stores them.
    pub fn encode(self, values: &[f32], row: usize, context: usize) -> Vec<u8> {
        match self {
            KvType::F16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
            KvType::F32 => bytemuck::cast_slice(values).to_vec(),
            KvType::Q8_0 => values.chunks(row * context).flat_map(|head| encode_head(head, row)).collect(),
        }
    }

    /// The inverse of [`KvType::encode`].
    pub fn decode(self, bytes: &[u8], row: usize, context: usize) -> Vec<f32> {
        match self {
            KvType::F16 => {
                bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            KvType::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            KvType::Q8_0 => {
                let heads = bytes.chunks_exact(context * self.row_bytes(row));
                heads.flat_map(|head| decode_head(head, row, context)).collect()
            }
        }
    }
}

/// Signed bytes and scale of a block, and the numbers that they stand for. NaN makes the scale NaN.
fn bytes_of(block: &[f32]) -> ((Vec<i8>, half::f16), Vec<f32>) {
    let bad = block.iter().any(|v| v.is_nan());
    let most = block.iter().fold(0.0, |most: f32, v| most.max(v.abs()));
    let scale = if bad { half::f16::NAN } else { half::f16::from_f32((most / 127.0).min(65504.0)) };
    let step =
        |v: &f32| if scale.to_f32() > 0.0 { (v / scale.to_f32()).round().clamp(-127.0, 127.0) } else { 0.0 };
    let bytes: Vec<i8> = block.iter().map(|v| step(v) as i8).collect();
    let values = bytes.iter().map(|q| f32::from(*q) * scale.to_f32()).collect();
    ((bytes, scale), values)
}

/// One head: the bytes of all positions, then their scales.
fn encode_head(head: &[f32], row: usize) -> Vec<u8> {
    let (mut bytes, mut scales) = (Vec::new(), Vec::new());
    for position in head.chunks(row) {
        let first = scales.len();
        for block in position.chunks(BLOCK) {
            let ((quants, scale), _) = bytes_of(block);
            bytes.extend(quants.iter().map(|q| *q as u8));
            scales.extend(scale.to_le_bytes());
        }
        scales.resize(first + 4 * KvType::scale_words(row), 0);
    }
    [bytes, scales].concat()
}

fn decode_head(head: &[u8], row: usize, context: usize) -> Vec<f32> {
    let (bytes, scales) = head.split_at(context * row);
    let stride = 4 * KvType::scale_words(row);
    let value = |(i, byte): (usize, &u8)| {
        let at = i / row * stride + i % row / BLOCK * 2;
        f32::from(*byte as i8) * half::f16::from_le_bytes([scales[at], scales[at + 1]]).to_f32()
    };
    bytes.iter().enumerate().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_of_every_type_hold_what_was_stored() {
        // Two heads of three positions of 36 elements: the second block is short.
        let (row, context) = (36, 3);
        let values: Vec<f32> = (0..2 * context * row).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        for kv in KvType::ALL {
            let bytes = kv.encode(&values, row, context);
            assert_eq!(bytes.len(), 2 * context * kv.row_bytes(row), "{}", kv.name());
            let back = kv.decode(&bytes, row, context);
            let rounded: Vec<f32> = values.chunks(row).flat_map(|head| kv.round(head)).collect();
            assert_eq!(back, rounded, "{}", kv.name());
            for (head, got) in values.chunks(row).zip(back.chunks(row)) {
                let exact: Vec<f64> = head.iter().map(|v| f64::from(*v)).collect();
                for ((want, got), tolerance) in exact.iter().zip(got).zip(kv.rounding(&exact)) {
                    assert!((want - f64::from(*got)).abs() <= tolerance, "{}: {want} and {got}", kv.name());
                }
            }
        }
        // A NaN shows in its block, and only there.
        let mut head = vec![0.5f32; 64];
        head[40] = f32::NAN;
        let back = KvType::Q8_0.round(&head);
        assert!(back[..32].iter().all(|v| (v - 0.5).abs() < 1e-3) && back[32..].iter().all(|v| v.is_nan()));
    }
}
