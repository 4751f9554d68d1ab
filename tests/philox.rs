//! Philox4x32: the CPU gives Random123's 110 published answers, a shader gives the 10-round ones,
//! and the two agree with each other.

mod common;

use common::{Form, MULTIPLICATIONS, with_gpu};
use rand::Rng;
use wgpu_dropout::Backend;
use wgpu_dropout::call::PhiloxWords;
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::philox::{PhiloxRng, philox4x32, philox4x32_rounds};

/// A published answer of a known-answer test.
struct Answer {
    rounds: u32,
    /// Counter, then key.
    input: [u32; 6],
    words: [u32; 4],
}

impl Answer {
    fn computed<const ROUNDS: u32>(&self) -> [u32; 4] {
        let [a, b, c, d, low, high] = self.input;
        philox4x32_rounds::<ROUNDS>([a, b, c, d], [low, high])
    }
}

fn published() -> Vec<Answer> {
    let lines = include_str!("../crates/contract/vectors/philox4x32.kat")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let answer = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((words[0], words.len()), ("philox4x32", 12), "{line}");
        let hex = |i: usize| u32::from_str_radix(words[i], 16).unwrap();
        let input = std::array::from_fn(|i| hex(2 + i));
        Answer {
            rounds: words[1].parse().unwrap(),
            input,
            words: std::array::from_fn(|i| hex(8 + i)),
        }
    };
    lines.map(answer).collect()
}

/// Returns the device's words for rows that hold a counter and a key.
fn words_of(gpu: &mut Gpu, inputs: &[[u32; 6]]) -> Vec<[u32; 4]> {
    let values = gpu.tensor(inputs.len(), 6, inputs.as_flattened()).unwrap();
    let mut words = gpu.tensor(inputs.len(), 4, &vec![0xdead_beef; 4 * inputs.len()]).unwrap();
    gpu.run(PhiloxWords { inputs: &values, words: &mut words }).unwrap();
    gpu.read(&words).unwrap().chunks(4).map(|row| row.try_into().unwrap()).collect()
}

#[test]
fn there_are_55_answers_for_7_rounds_and_55_for_10() {
    let count = |rounds| published().iter().filter(|answer| answer.rounds == rounds).count();
    assert_eq!((published().len(), count(7), count(10)), (110, 55, 55));
}

#[test]
fn the_cpu_gives_the_published_answers_and_counts_its_rounds() {
    for answer in published() {
        let (seven, ten) = (answer.computed::<7>(), answer.computed::<10>());
        let (right, wrong) = if answer.rounds == 7 { (seven, ten) } else { (ten, seven) };
        assert_eq!(right, answer.words, "{:x?}, {} rounds", answer.input, answer.rounds);
        assert_ne!(
            wrong, answer.words,
            "the other number of rounds must not give {:x?}",
            answer.words
        );
    }
}

#[test]
fn the_shader_gives_the_10_round_answers_and_none_of_the_7_round_ones() {
    for form in MULTIPLICATIONS {
        with_gpu(form, |gpu| {
            let answers = published();
            let inputs: Vec<[u32; 6]> = answers.iter().map(|answer| answer.input).collect();
            for (answer, words) in answers.iter().zip(words_of(gpu, &inputs)) {
                let same = words == answer.words;
                assert_eq!(
                    same,
                    answer.rounds == 10,
                    "{form:?} {:x?}, {} rounds: {words:x?}",
                    answer.input,
                    answer.rounds
                );
            }
            // If the device offers both methods of multiplication, both have run.
            let int64 = matches!(form, Form::Usual)
                && gpu.device().features().contains(wgpu::Features::SHADER_INT64);
            let expected = if int64 { "philox_words.int64" } else { "philox_words" };
            assert!(
                gpu.kernels().compiled().contains(&expected.to_owned()),
                "{:?}",
                gpu.kernels().compiled()
            );
        });
    }
}

/// Without 64-bit integers, the high half of a product is assembled from 16-bit limbs. Words at the
/// edges of a limb would reveal a lost carry.
#[test]
fn the_shader_equals_the_cpu_on_random_words_and_at_the_edges_of_limbs() {
    const EDGES: [u32; 8] =
        [0, 1, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_0000, u32::MAX];
    let mut rng = PhiloxRng::at(123, 0);
    let mut word = |i: usize| {
        if i.is_multiple_of(2) {
            rng.next_u32()
        } else {
            EDGES[rng.next_u32() as usize % EDGES.len()]
        }
    };
    let inputs: Vec<[u32; 6]> = (0..5000).map(|i| std::array::from_fn(|_| word(i))).collect();
    for form in MULTIPLICATIONS {
        with_gpu(form, |gpu| {
            for (input, words) in inputs.iter().zip(words_of(gpu, &inputs)) {
                let [a, b, c, d, low, high] = *input;
                assert_eq!(words, philox4x32([a, b, c, d], [low, high]), "{form:?} {input:x?}");
            }
        });
    }
}
