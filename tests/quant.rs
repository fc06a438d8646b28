//! Blocks against ggml's own bytes and values (shared test data), and encoders on
//! unusual values.
#![expect(clippy::neg_cmp_op_on_partial_ord, reason = "`!(error <= budget)`: NaN must fail")]

mod common;

use anygpu::base::DType;
use anygpu::quant::{
    PlaneLayout, QuantError, decode, encode, is_native, native_for, transcode, transcode_target,
};
use proptest::prelude::*;
use safetensors::SafeTensors;

/// The types in the vectors that can be decoded, as they are named there.
const VECTORS: [(DType, &str); 15] = [
    (DType::F16, "F16"),
    (DType::BF16, "BF16"),
    (DType::Q4_0, "Q4_0"),
    (DType::Q4_1, "Q4_1"),
    (DType::Q5_0, "Q5_0"),
    (DType::Q5_1, "Q5_1"),
    (DType::Q8_0, "Q8_0"),
    (DType::Q2K, "Q2_K"),
    (DType::Q3K, "Q3_K"),
    (DType::Q4K, "Q4_K"),
    (DType::Q5K, "Q5_K"),
    (DType::Q6K, "Q6_K"),
    (DType::IQ4NL, "IQ4_NL"),
    (DType::IQ4XS, "IQ4_XS"),
    (DType::MXFP4, "MXFP4"),
];

/// Rows and columns of every vector.
const ROWS: usize = 8;
const COLS: usize = 256;

/// The file of vectors, if there is shared data.
fn vectors() -> Option<Vec<u8>> {
    let path = common::shared()?.join("data/quant/quant_vectors.safetensors");
    Some(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

fn bytes<'a>(file: &SafeTensors<'a>, name: &str) -> &'a [u8] {
    file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data()
}

fn floats(file: &SafeTensors, name: &str) -> Vec<f32> {
    let values = bytes(file, name).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>();
    assert_eq!(values.len(), ROWS * COLS, "{name}");
    values
}

/// Fails at the first value whose bits differ.
fn same_bits(got: &[f32], want: &[f32]) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{} values, expected {}", got.len(), want.len()));
    }
    match got.iter().zip(want).position(|(got, want)| got.to_bits() != want.to_bits()) {
        Some(at) => Err(format!("value {at}: {:?}, expected {:?}", got[at], want[at])),
        None => Ok(()),
    }
}

#[test]
fn decoding_is_bit_exact() {
    let Some(data) = vectors() else { return };
    let file = SafeTensors::deserialize(&data).unwrap();
    for (dtype, name) in VECTORS {
        let want = floats(&file, &format!("{name}.f32"));
        let blocks = bytes(&file, &format!("{name}.bytes"));
        let mut got = vec![f32::NAN; want.len()];
        decode(dtype, blocks, &mut got).unwrap();
        same_bits(&got, &want).unwrap_or_else(|e| panic!("{name}: {e}"));

        if is_native(dtype) {
            let layout = PlaneLayout::new(dtype, COLS).unwrap();
            let mut quants = vec![0; ROWS * layout.quant_row_bytes];
            let mut scales = vec![0; ROWS * layout.scale_row_bytes];
            layout.repack(blocks, &mut quants, &mut scales).unwrap();
            for (row, want) in want.chunks_exact(COLS).enumerate() {
                let quants = &quants[row * layout.quant_row_bytes..][..layout.quant_row_bytes];
                let scales = &scales[row * layout.scale_row_bytes..][..layout.scale_row_bytes];
                let mut got = vec![f32::NAN; COLS];
                layout.decode_row(quants, scales, &mut got).unwrap();
                same_bits(&got, want).unwrap_or_else(|e| panic!("{name} planes, row {row}: {e}"));
            }
        }

        // The comparison can fail: one flipped bit in the codes is seen.
        let mut flipped = blocks.to_vec();
        flipped[40] ^= 1;
        decode(dtype, &flipped, &mut got).unwrap();
        assert!(same_bits(&got, &want).is_err(), "{name}: a flipped bit went unseen");
    }
}

/// Types with an encoder; per row, the RMSE of ggml's own encoding of these rows, which is ours' budget.
/// (Measured on the vectors; the test recomputes them.)
const BUDGETS: [(DType, &str, [f64; ROWS]); 10] = [
    (DType::F16, "F16", [0.0, 0.0, 0.0, 0.0, 1.608044870585823e-7, 0.042137197798034556, 0.0, 0.0]),
    (DType::BF16, "BF16", [0.0, 0.0, 0.0, 0.0, 1.195299318821657e-6, 0.32098223179305163, 0.0, 0.0]),
    (
        DType::Q8_0,
        "Q8_0",
        [
            0.0026558546522396837,
            0.00255164728336916,
            0.0028245630893200917,
            0.00239211295257755,
            3.973459634665741e-6,
            1.1515247535026765,
            0.003361985282592728,
            0.0032510793202062465,
        ],
    ),
    (
        DType::Q4_0,
        "Q4_0",
        [
            0.03856531739141902,
            0.04081920267102479,
            0.04638104309946908,
            0.03747701429821722,
            5.8605083882375816e-5,
            16.031350980850135,
            0.05361975562261038,
            0.04767017706357756,
        ],
    ),
    (
        DType::Q4_1,
        "Q4_1",
        [
            0.03493942033638589,
            0.035216654240082176,
            0.03660330936612839,
            0.03301271546049033,
            5.1845017643226706e-5,
            13.876250463572566,
            0.04066924271662022,
            0.03926147470841029,
        ],
    ),
    (
        DType::Q5_0,
        "Q5_0",
        [
            0.020425486332968288,
            0.01981823279487204,
            0.0204420066363665,
            0.018261284548308856,
            2.9519703281128005e-5,
            8.574887398608439,
            0.027073376809924013,
            0.02386606559130064,
        ],
    ),
    (
        DType::Q5_1,
        "Q5_1",
        [
            0.01760358764726844,
            0.01772991800742401,
            0.01721733173706897,
            0.016725156169315535,
            2.4329509666939044e-5,
            6.6919574220527975,
            0.01916833962277651,
            0.01877137271587472,
        ],
    ),
    (
        DType::Q4K,
        "Q4_K",
        [
            0.03571197975233138,
            0.035739448459837904,
            0.03784803619935059,
            0.033126984066643585,
            5.255211884722443e-5,
            14.122292123864778,
            0.04069045235564349,
            0.03992261442802835,
        ],
    ),
    (
        DType::Q5K,
        "Q5_K",
        [
            0.01858422853972257,
            0.01856223730513345,
            0.019252768530037354,
            0.017347871971239975,
            2.735361624971139e-5,
            7.204229474806628,
            0.02059336430563588,
            0.019616670030777435,
        ],
    ),
    (
        DType::Q6K,
        "Q6_K",
        [
            0.00825314201051068,
            0.008830385069448651,
            0.009116185310798448,
            0.008212171035668313,
            2.1109590998464936e-5,
            3.441457240879968,
            0.010414582262485846,
            0.010183342790573346,
        ],
    ),
];

fn rmse(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
    (squares / a.len() as f64).sqrt()
}

fn row_errors(a: &[f32], b: &[f32]) -> Vec<f64> {
    a.chunks_exact(COLS).zip(b.chunks_exact(COLS)).map(|(a, b)| rmse(a, b)).collect()
}

/// Fails unless every row, and all rows together, stay within the budgets.
fn within(errors: &[f64], budgets: &[f64]) -> Result<(), String> {
    let total = |rows: &[f64]| rows.iter().map(|row| row * row).sum::<f64>();
    for (row, (error, budget)) in errors.iter().zip(budgets).enumerate() {
        if !(error <= budget) {
            return Err(format!("row {row}: RMSE {error:e} above {budget:e}"));
        }
    }
    let (found, allowed) = (total(errors), total(budgets));
    if !(found <= allowed) { Err(format!("total {found:e} above {allowed:e}")) } else { Ok(()) }
}

fn encoded(dtype: DType, values: &[f32]) -> Vec<u8> {
    let mut out = vec![0xa5; dtype.row_bytes(values.len()).unwrap()];
    encode(dtype, values, &mut out).unwrap_or_else(|e| panic!("{dtype}: {e}"));
    out
}

fn decoded(dtype: DType, bytes: &[u8], n: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; n];
    decode(dtype, bytes, &mut out).unwrap_or_else(|e| panic!("{dtype}: {e}"));
    out
}

#[test]
fn encoders_are_no_worse_than_ggml() {
    let Some(data) = vectors() else { return };
    let file = SafeTensors::deserialize(&data).unwrap();
    let source = floats(&file, "source.f32");
    for (dtype, name, budgets) in BUDGETS {
        let ggml = row_errors(&floats(&file, &format!("{name}.f32")), &source);
        for (row, (ggml, budget)) in ggml.iter().zip(&budgets).enumerate() {
            assert!((ggml - budget).abs() <= 1e-9 * ggml, "{name} row {row}: budget is not {ggml:e}");
        }
        let mut bytes = encoded(dtype, &source);
        let errors = row_errors(&decoded(dtype, &bytes, source.len()), &source);
        within(&errors, &budgets).unwrap_or_else(|e| panic!("{name}: {e}"));

        // The check can fail: swapped nibbles in the last row's codes exceed its budget.
        let last_row = bytes.len() / ROWS * (ROWS - 1);
        bytes[last_row + 20..last_row + 60].iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
        let errors = row_errors(&decoded(dtype, &bytes, source.len()), &source);
        assert!(within(&errors, &budgets).is_err(), "{name}: swapped nibbles went unseen");
    }
}

#[test]
fn transcoding_keeps_the_weights() {
    let Some(data) = vectors() else { return };
    let file = SafeTensors::deserialize(&data).unwrap();
    let source = floats(&file, "source.f32");
    // RMSE added by the transcoding, relative to the type's own RMSE: measured 0.013–0.023 for Q2_K
    // (encoded anew), at most 0.004 for IQ4_XS (scales rounded to f16); the others are exact.
    for (from, name, budget) in [
        (DType::Q2K, "Q2_K", 0.025),
        (DType::Q3K, "Q3_K", 0.0),
        (DType::IQ4NL, "IQ4_NL", 0.0),
        (DType::IQ4XS, "IQ4_XS", 0.005),
        (DType::MXFP4, "MXFP4", 0.0),
    ] {
        let blocks = bytes(&file, &format!("{name}.bytes"));
        let to = transcode_target(from, blocks);
        assert_eq!(to, native_for(from), "{name}");
        let mut out = vec![0; to.row_bytes(source.len()).unwrap()];
        transcode(from, to, blocks, &mut out).unwrap();
        let want = floats(&file, &format!("{name}.f32"));
        let added = row_errors(&decoded(to, &out, want.len()), &want);
        let own = row_errors(&want, &source);
        let budgets = own.iter().map(|own| own * budget).collect::<Vec<_>>();
        within(&added, &budgets).unwrap_or_else(|e| panic!("{name} → {to}: {e}"));
    }
}

/// Per encoder: what the RMSE of a block may be, relative to its largest magnitude, whatever the values:
/// one step of the symmetric codes (the end without the extra code clips), or half a step of codes with
/// an offset plus what the rounding of scales and minimums to 6 bits or f16 may cost.
const WORST_RELATIVE: [(DType, f64); 10] = [
    (DType::F16, 1.0 / 2048.0),
    (DType::BF16, 1.0 / 256.0),
    (DType::Q8_0, 0.51 / 127.0),
    (DType::Q4_0, 1.0 / 8.0),
    (DType::Q5_0, 1.0 / 16.0),
    (DType::Q4_1, 1.1 / 15.0),
    (DType::Q5_1, 1.1 / 31.0),
    (DType::Q4K, 1.3 / 15.0),
    (DType::Q5K, 1.3 / 31.0),
    (DType::Q6K, 1.0 / 32.0),
];

/// Unit of the smallest f16 numbers, 2^-24: no scale is finer.
const F16_UNIT: f64 = 5.960_464_477_539_063e-8;

/// Encodes and decodes one superblock with every encoder and checks the error of it.
fn bounded(values: &[f32]) -> Result<(), String> {
    let largest = values.iter().fold(0.0_f32, |largest, v| v.abs().max(largest));
    for (dtype, relative) in WORST_RELATIVE {
        let error = rmse(&decoded(dtype, &encoded(dtype, values), values.len()), values);
        let allowed = relative * f64::from(largest) + F16_UNIT;
        if !(error <= allowed) {
            return Err(format!("{dtype}: RMSE {error:e} above {allowed:e} for {:?} …", &values[..4]));
        }
    }
    Ok(())
}

#[test]
fn unusual_rows_are_encoded() {
    let ramp = |scale: f32| (0..256).map(|i| (i as f32 - 100.0) / 155.0 * scale).collect::<Vec<_>>();
    let mut one_spike = vec![0.0; 256];
    one_spike[77] = -3.0;
    for values in [
        vec![0.0; 256],
        vec![-0.0; 256],
        vec![1.0; 256],
        vec![-5.3; 256],
        vec![1e-3; 256],
        vec![60000.0; 256],
        vec![-60000.0; 256],
        vec![f32::MIN_POSITIVE / 8.0; 256],
        one_spike,
        ramp(300.0),
        ramp(60000.0),
        ramp(1e-3),
        ramp(1e-5),
        ramp(1e-6),
        ramp(1e-7),
        ramp(1e-30),
        ramp(1e-44),
        ramp(1.0).iter().map(|v| v + 1000.0).collect(),
        ramp(1.0).iter().map(|v| v - 1000.0).collect(),
    ] {
        bounded(&values).unwrap();
    }
    assert!(encoded(DType::Q4K, &[0.0; 256]).iter().all(|byte| *byte == 0), "zeros have no scale");
}

#[test]
fn values_that_cannot_be_encoded_are_named() {
    for (dtype, _) in WORST_RELATIVE {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = [1.0; 512];
            values[300] = value;
            let error = encode(dtype, &values, &mut vec![0; dtype.row_bytes(512).unwrap()]).unwrap_err();
            assert!(matches!(error, QuantError::NotFinite { index: 300, .. }), "{dtype}: {error}");
        }
        let mut values = [1.0; 512];
        values[511] = f32::MAX;
        let error = encode(dtype, &values, &mut vec![0; dtype.row_bytes(512).unwrap()]).unwrap_err();
        assert!(matches!(error, QuantError::OutOfRange { index: 511, .. }), "{dtype}: {error}");
        // The limit that the error names can be encoded, without infinities in the blocks.
        let QuantError::OutOfRange { limit, .. } = error else { unreachable!("just matched") };
        values[511] = -limit;
        let back = decoded(dtype, &encoded(dtype, &values), 512);
        assert!((back[511] + limit).abs() <= limit / 8.0, "{dtype}: {} for {}", back[511], -limit);
    }
    assert_eq!(encode(DType::Q2K, &[0.0; 256], &mut [0; 84]), Err(QuantError::NoEncoder(DType::Q2K)));
    assert!(matches!(encode(DType::Q4K, &[0.0; 32], &mut [0; 18]), Err(QuantError::NotWholeBlocks { .. })));
    assert!(matches!(encode(DType::Q4_0, &[0.0; 32], &mut [0; 17]), Err(QuantError::Length { .. })));
}

proptest! {
    #[test]
    fn any_row_has_a_bounded_error(
        shape in proptest::collection::vec(-1.0_f32..1.0, 256),
        power in 0.3_f32..6.0,
        exponent in -10_i32..5,
        offset in prop_oneof![Just(0.0_f32), -3.0_f32..3.0],
    ) {
        let scale = 10_f32.powi(exponent);
        let values = shape.iter().map(|v| (v.signum() * v.abs().powf(power) + offset) * scale);
        prop_assert_eq!(bounded(&values.collect::<Vec<_>>()), Ok(()));
    }

    #[test]
    fn encoding_what_was_decoded_changes_little(seed in proptest::collection::vec(any::<u8>(), 256)) {
        // Codes of a Q8_0 row with the extreme code in every block are found again.
        let mut values = seed.iter().map(|v| f32::from(v.cast_signed().max(-127)) * 0.5).collect::<Vec<_>>();
        values.iter_mut().step_by(32).for_each(|v| *v = 63.5);
        prop_assert_eq!(decoded(DType::Q8_0, &encoded(DType::Q8_0, &values), 256), values);
    }
}
