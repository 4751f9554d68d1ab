//! Answers of a network, one for each row of the data: a table for people and spreadsheets, and how
//! many are right.

use csv::{Terminator, WriterBuilder};
use wgpu_dropout::file;
use wgpu_dropout::mlp::{Evaluation, Predictive};

/// Returns the answers as a CSV file: the class of each row, the probability of each class and, of
/// an average over masks, its spread, the entropy and the mutual information.
pub fn table(predictive: &Predictive, classes: &[String], separator: u8) -> csv::Result<Vec<u8>> {
    let Predictive { mean, spread, entropy, information } = predictive;
    let mut writer = WriterBuilder::new()
        .delimiter(separator)
        .terminator(Terminator::Any(b'\n'))
        .from_writer(Vec::new());
    let columns =
        |prefix: &'static str| classes.iter().map(move |class| format!("{prefix}_{class}"));
    let averaged = !spread.is_empty();
    writer.write_field("class")?;
    columns("probability").try_for_each(|name| writer.write_field(name))?;
    if averaged {
        let more = columns("spread").chain(["entropy", "information"].map(str::to_owned));
        { more }.try_for_each(|name| writer.write_field(name))?;
    }
    writer.write_record(None::<&[u8]>)?;
    for (row, probabilities) in mean.chunks(classes.len().max(1)).enumerate() {
        let answer = answer(probabilities).and_then(|class| classes.get(class));
        writer.write_field(answer.map_or("", String::as_str))?;
        let of_row = |values: &'_ [f32], width: usize| -> Vec<f32> {
            values.iter().skip(row * width).take(width).copied().collect()
        };
        let numbers = [
            probabilities.to_vec(),
            of_row(spread, classes.len()),
            of_row(entropy, 1),
            of_row(information, 1),
        ];
        numbers.iter().flatten().try_for_each(|number| writer.write_field(number.to_string()))?;
        writer.write_record(None::<&[u8]>)?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// Returns the answers counted by class, for a line.
pub fn counted(mean: &[f32], classes: &[String]) -> String {
    let mut counts = vec![0_usize; classes.len()];
    for class in mean.chunks(classes.len().max(1)).filter_map(answer) {
        counts[class] += 1;
    }
    let found = counts.iter().zip(classes).filter(|(count, _)| **count > 0);
    let mut shown: Vec<String> =
        found.map(|(count, name)| format!("{} ({count})", file::shown(name))).collect();
    let more = shown.len().saturating_sub(10);
    shown.truncate(10);
    if more > 0 {
        shown.push(format!("{more} classes more"));
    }
    shown.join(", ")
}

/// Returns the answer: the first of the classes with the largest probability. There is none if a
/// probability is NaN.
fn answer(probabilities: &[f32]) -> Option<usize> {
    let largest = probabilities.iter().copied().reduce(f32::max)?;
    let answer = probabilities.iter().position(|&p| p == largest);
    answer.filter(|_| !probabilities.iter().any(|p| p.is_nan()))
}

/// Returns the mean cross-entropy and the share of wrong answers in percent, over the rows that are
/// `labeled`. Returns nothing if none is.
pub fn measure(
    probabilities: &[f32],
    labels: &[u32],
    labeled: &[bool],
    classes: usize,
) -> Option<Evaluation> {
    let (mut loss, mut wrong, mut rows) = (0.0, 0.0, 0.0);
    let answers = probabilities.chunks(classes.max(1)).zip(labels).zip(labeled);
    for ((row, &label), _) in answers.filter(|(_, labeled)| **labeled) {
        loss -= f64::from(row.get(label as usize).copied().unwrap_or(f32::NAN)).ln();
        wrong += f64::from(u8::from(answer(row) != Some(label as usize)));
        rows += 1.0;
    }
    (rows > 0.0).then(|| Evaluation { loss: loss / rows, error: 100.0 * wrong / rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_probabilities_is_the_answer() {
        let error = |probabilities: &[f32], label| {
            measure(probabilities, &[label], &[true], 3).unwrap().error
        };
        assert_eq!(error(&[0.4, 0.4, 0.2], 0), 0.0);
        assert_eq!(error(&[0.4, 0.4, 0.2], 1), 100.0);
        assert_eq!(error(&[f32::NAN, 0.4, 0.6], 2), 100.0);
        let halves = measure(&[0.5, 0.5, 0.0, 0.25, 0.5, 0.25], &[0, 0], &[true; 2], 3);
        let right = Evaluation { loss: (2f64.ln() + 4f64.ln()) / 2.0, error: 50.0 };
        assert_eq!(halves, Some(right));
        // Rows without a label do not count.
        let third = measure(&[0.1, 0.8, 0.1, 0.25, 0.5, 0.25], &[0, 1], &[false, true], 3);
        assert_eq!(third, Some(Evaluation { loss: 2f64.ln(), error: 0.0 }));
        assert_eq!(measure(&[0.1, 0.8, 0.1], &[0], &[], 3), None);
    }

    #[test]
    fn a_table_has_a_row_for_each_row_and_quotes_names() {
        let classes = ["a".to_owned(), "b, \"c\"".to_owned()];
        let mean = vec![0.25, 0.75, 0.5, 0.5, f32::NAN, 0.5];
        let plain = Predictive { mean: mean.clone(), ..Predictive::default() };
        let text = |predictive, separator| {
            String::from_utf8(table(predictive, &classes, separator).unwrap()).unwrap()
        };
        assert_eq!(
            text(&plain, b','),
            "class,probability_a,\"probability_b, \"\"c\"\"\"\n\
             \"b, \"\"c\"\"\",0.25,0.75\na,0.5,0.5\n,NaN,0.5\n"
        );
        let averaged = Predictive {
            mean,
            spread: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
            entropy: vec![1.0, 2.0, 3.0],
            information: vec![0.01, 0.02, 0.03],
        };
        let text = text(&averaged, b'\t');
        let second: Vec<&str> = text.lines().nth(2).unwrap().split('\t').collect();
        assert_eq!(second, ["a", "0.5", "0.5", "0.3", "0.4", "2", "0.02"]);
        assert_eq!(counted(&averaged.mean, &classes), "a (1), b, \"c\" (1)");
    }
}
