//! Masks of attention: read off its results, and the same in any layout.

use super::Case;
use crate::common::{Form, noise, same_bits};
use crate::{mask, on_backends};
use wgpu_dropout::call::{AttentionRule, Reach, Sequence, Sequences};
use wgpu_dropout::{AttentionPlace, Backend, Dropout, Mode};

/// Reads the mask off the results of queries of 0: every weight is then `1/keys`, and numbers of
/// powers of two tell which are kept.
fn masks_in<B: Backend>(backend: &mut B, case: &Case<'_>) -> [Vec<u8>; 2] {
    let Case { rule, rows: [queries, keys], width, .. } = *case;
    let heads = rule.heads;
    let bits = |rows: usize| -> Vec<f32> {
        let of = |row: usize, d: usize| {
            if row % width == d { 2f32.powi((row / width) as i32) } else { 0.0 }
        };
        (0..rows).flat_map(|row| (0..heads * width).map(move |col| of(row, col % width))).collect()
    };
    let mut values = case.values();
    values.query.fill(0.0);
    (values.value, values.grad) = (bits(keys), bits(queries));
    let [output, _, _, _, grad] = case.run(backend, &values, None).unwrap();
    // Element (row, col) of head h: bit col / width of number col % width of that row's head.
    let read = |from: &[f32], row: usize, head: usize, col: usize| {
        let number = from[(row * heads + head) * width + col % width] * keys as f32 / 2.0;
        assert_eq!(number, number.trunc());
        (number as u32 >> (col / width) & 1) as u8
    };
    let places = || {
        (0..heads).flat_map(move |head| {
            (0..queries).flat_map(move |query| (0..keys).map(move |key| (head, query, key)))
        })
    };
    [
        places().map(|(head, query, key)| read(&output, query, head, key)).collect(),
        places().map(|(head, query, key)| read(&grad, key, head, query)).collect(),
    ]
}

#[test]
fn every_bit_of_the_mask_stands_in_the_output_and_in_the_gradient_of_the_values() {
    fn check<B: Backend>(backend: &mut B) {
        for (heads, queries, keys, width) in [
            (2, 64, 64, 64),
            (2, 200, 256, 64),
            (1, 130, 128, 16),
            (3, 33, 32, 8),
            (1, 100, 512, 128),
        ] {
            for key in [0, 8, 13] {
                let mut case = Case::new(1, [heads, heads], [queries, keys, width]);
                case.rule.dropout = Dropout::train(Mode::Inverted, mask(0.5));
                case.rule.place =
                    AttentionPlace { sequence: 3, head: 1, heads: 5, query: 7, key, pitch: 1000 };
                let what = format!("{} {heads} {queries} {keys} {width} {key}", backend.name());
                let shape = [1, heads, queries, keys];
                let right = case.rule.place.bytes(mask(0.5), shape).unwrap();
                let [forward, backward] = masks_in(backend, &case);
                assert!(forward == right, "{what}: the output");
                assert!(backward == right, "{what}: the gradient");
                // The control: heads counted in the part.
                case.rule.place.heads = 1 + heads as u64;
                assert!(case.rule.place.bytes(mask(0.5), shape).unwrap() != forward, "{what}");
            }
        }
    }
    on_backends!(check, [Form::Usual, Form::Fused, Form::Limbs, Form::Downlevel]);
}

#[test]
fn a_pack_in_any_order_and_a_padded_batch_give_the_same() {
    fn check<B: Backend>(backend: &mut B) {
        let lengths = [9, 70, 5];
        let mut case = Case::new(1, [4, 2], [84, 84, 16]);
        case.rule.reach = Reach::Causal;
        case.rule.place.pitch = 100;
        let pack = |order: [usize; 3]| {
            let mut row = 0;
            order.map(|number| {
                let rows = row..row + lengths[number];
                row = rows.end;
                Sequence { queries: rows.clone(), keys: rows, number: number as u64 }
            })
        };
        let padded: [Sequence; 3] = std::array::from_fn(|number| {
            let rows = 80 * number..80 * number + lengths[number];
            Sequence { queries: rows.clone(), keys: rows, number: number as u64 }
        });
        // One row of a token's numbers for each place, wherever the layout puts it.
        let token = |number: usize, at: usize, seed: u64, len: usize| {
            noise(seed + 1000 * (100 * number + at) as u64, len)
        };
        let mut all: Vec<Vec<Vec<f32>>> = Vec::new();
        for (list, rows) in [(pack([0, 1, 2]), 84), (pack([2, 0, 1]), 84), (padded, 240)] {
            let case = Case {
                rule: AttentionRule { sequences: Sequences::Listed(&list), ..case.rule },
                rows: [rows; 2],
                ..case
            };
            let mut values = case.values();
            for (seed, tensor) in
                [&mut values.query, &mut values.key, &mut values.value, &mut values.grad]
                    .into_iter()
                    .enumerate()
            {
                let cols = tensor.len() / rows;
                for sequence in &list {
                    for (at, row) in sequence.queries.clone().enumerate() {
                        tensor[row * cols..(row + 1) * cols].copy_from_slice(&token(
                            sequence.number as usize,
                            at,
                            seed as u64,
                            cols,
                        ));
                    }
                }
            }
            let got = case.run(backend, &values, None).unwrap();
            let of = |number: u64| list.iter().find(|sequence| sequence.number == number).unwrap();
            let cut = |tensor: &Vec<f32>| {
                let cols = tensor.len() / rows;
                (0..3)
                    .flat_map(|number| {
                        tensor[of(number).queries.start * cols..of(number).queries.end * cols]
                            .to_vec()
                    })
                    .collect::<Vec<f32>>()
            };
            // Rows between the sequences are left as they were.
            assert_eq!(got[0].iter().filter(|o| o.is_nan()).count(), (rows - 84) * 64);
            all.push(got.iter().map(cut).collect());
        }
        for other in &all[1..] {
            for (a, b) in all[0].iter().zip(other) {
                assert!(a.iter().all(|x| x.is_finite()));
                same_bits(&backend.name(), a, b).unwrap();
            }
        }
        // The control: numbers by the order in the pack.
        let mut list = pack([2, 0, 1]);
        list.iter_mut().enumerate().for_each(|(at, sequence)| sequence.number = at as u64);
        let [a, b] = [pack([2, 0, 1]), list].map(|list| {
            let rule = AttentionRule { sequences: Sequences::Listed(&list), ..case.rule };
            let case = Case { rule, ..case };
            case.run(backend, &case.values(), None).unwrap()
        });
        assert!(same_bits("", &a[0], &b[0]).is_err());
    }
    on_backends!(check, [Form::Usual, Form::Fused]);
}
