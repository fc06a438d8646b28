//! Sizes that follow from a [`ModelSpec`]: tensor shapes, parameters, KV cache bytes.

use std::collections::HashSet;

use super::spec::{LayerTensors, ModelSpec};

impl ModelSpec {
    /// Every tensor the model uses with its row-major shape, each name once (a tied output matrix is
    /// the embedding), in the order of the forward pass.
    pub fn expected_tensors(&self) -> Vec<(&str, Vec<usize>)> {
        let names = &self.tensors;
        let mut all = vec![(names.embedding.as_str(), vec![self.vocab, self.hidden])];
        if let Some(factors) = &names.rope_factors {
            all.push((factors, vec![self.rotary_dim() / 2]));
        }
        for layer in &names.layers {
            self.layer_tensors(layer, &mut all);
        }
        all.push((&names.output_norm, vec![self.hidden]));
        all.push((&names.output, vec![self.vocab, self.hidden]));
        let mut seen = HashSet::new();
        all.retain(|(name, _)| seen.insert(*name));
        all
    }

    fn layer_tensors<'a>(&self, layer: &'a LayerTensors, all: &mut Vec<(&'a str, Vec<usize>)>) {
        let (hidden, inner, head) = (self.hidden, self.intermediate, self.head_dim);
        let (q_rows, kv_rows) = (self.n_heads * head, self.n_kv_heads * head);
        let mut matrix = |name: &'a str, rows, cols| all.push((name, vec![rows, cols]));
        matrix(&layer.q, q_rows, hidden);
        matrix(&layer.k, kv_rows, hidden);
        matrix(&layer.v, kv_rows, hidden);
        matrix(&layer.o, hidden, q_rows);
        matrix(&layer.gate, inner, hidden);
        matrix(&layer.up, inner, hidden);
        matrix(&layer.down, hidden, inner);
        let vectors = [
            (Some(&layer.attn_norm), hidden),
            (layer.q_bias.as_ref(), q_rows),
            (layer.k_bias.as_ref(), kv_rows),
            (layer.v_bias.as_ref(), kv_rows),
            (layer.o_bias.as_ref(), hidden),
            (layer.q_norm.as_ref(), head),
            (layer.k_norm.as_ref(), head),
            (Some(&layer.mlp_norm), hidden),
            (layer.gate_bias.as_ref(), inner),
            (layer.up_bias.as_ref(), inner),
            (layer.down_bias.as_ref(), hidden),
        ];
        all.extend(vectors.into_iter().filter_map(|(name, len)| Some((name?.as_str(), vec![len]))));
    }

    /// Trained parameters; a tied output matrix counts once, rotary factors (constants) do not.
    pub fn n_params(&self) -> u64 {
        let constants = self.tensors.rope_factors.as_deref();
        let trained = self.expected_tensors().into_iter().filter(|(name, _)| Some(*name) != constants);
        trained.map(|(_, shape)| shape.iter().map(|&n| n as u64).product::<u64>()).sum()
    }

    /// Bytes the keys and values of one position take in all layers.
    pub fn kv_bytes_per_token(&self, bytes_per_element: usize) -> u64 {
        let row = (self.n_kv_heads * self.head_dim) as u64;
        2 * self.n_layers as u64 * row * bytes_per_element as u64
    }

    /// Elements of each head that are rotated.
    pub fn rotary_dim(&self) -> usize {
        2 * self.rope.inv_freq.len()
    }

    /// Is the output matrix the embedding?
    pub fn is_tied(&self) -> bool {
        self.tensors.output == self.tensors.embedding
    }

    /// The window of layer `layer_ix`, if it has one.
    pub fn window_of(&self, layer_ix: usize) -> Option<usize> {
        self.sliding_window.filter(|_| self.sliding_layers.get(layer_ix).copied().unwrap_or(false))
    }
}
