//! `cargo xtask stems`: fails where a kernel is described in too many places.
//!
//! A kernel's stem is the name of its shader. At most nine files of `src`, `shaders` and
//! `crates/contract` may name it: its shader, its line in the list of stems, its call and the list
//! of calls, its CPU twin and the list of twins, its oracle, its check, and a fast form.

use std::path::Path;
use std::process::Command;

/// Most files that may name a stem.
const MOST: usize = 9;

/// Stems that more files name: other kernels build on them, they are words too, or their plans and
/// fast CPU forms have files of their own.
const EXEMPT: [&str; 27] = [
    "activation_grad",
    "adamw",
    "alpha_dropout",
    "attention",
    "attention_grad",
    "batch_norm",
    "copy",
    "dropout",
    "dropout_broadcast",
    "gather",
    "gaussian_dropout",
    "grad_input",
    "grad_weight",
    "grad_weight_sgd",
    "linear_activation",
    "linear_forward",
    "mask_bits",
    "mask_bytes",
    "moments",
    "patches",
    "patches_grad",
    "pool",
    "pool_grad",
    "sgd",
    "softmax_cross_entropy",
    "squared_error",
    "subnetworks",
];

/// Checks the repository; the error lists each stem that is named too often.
pub fn check(root: &Path) -> Result<String, String> {
    let list = std::fs::read_to_string(root.join("src/plan/stem.rs"))
        .map_err(|error| format!("src/plan/stem.rs: {error}"))?;
    let stems = of_list(&list);
    if stems.is_empty() {
        return Err("src/plan/stem.rs lists no stems".to_owned());
    }
    let mut wrong = Vec::new();
    for stem in stems.iter().filter(|stem| !EXEMPT.contains(stem)) {
        let files = named_in(root, stem)?;
        if files.len() > MOST {
            let files = files.join(", ");
            wrong.push(format!("{stem} is named in more than {MOST} files: {files}"));
        }
    }
    if wrong.is_empty() {
        Ok(format!("{} stems, each in at most {MOST} files or exempt", stems.len()))
    } else {
        Err(wrong.join("\n"))
    }
}

/// Returns the stems that lines such as `Sgd = "sgd",` list.
fn of_list(text: &str) -> Vec<&str> {
    let stem = |line: &'_ str| -> Option<(usize, usize)> {
        let rest = line.trim().strip_suffix("\",")?;
        let at = rest.find(" = \"")?;
        Some((line.find(" = \"")? + 4, rest.len() - at - 4))
    };
    text.lines().filter_map(|line| stem(line).map(|(at, len)| &line[at..at + len])).collect()
}

fn named_in(root: &Path, stem: &str) -> Result<Vec<String>, String> {
    let mut command = Command::new("git");
    command.args(["grep", "-lw", stem, "--", "src", "shaders", "crates/contract"]);
    let output =
        command.current_dir(root).output().map_err(|error| format!("cannot start git: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_read_from_their_list() {
        let list = "stems! {\n    Sgd = \"sgd\",\n    LayerNorm = \"layer_norm\",\n}\n";
        assert_eq!(of_list(list), ["sgd", "layer_norm"]);
    }

    #[test]
    fn a_word_of_many_files_is_found_in_them() {
        let root = crate::repository();
        assert!(named_in(&root, "dropout").unwrap().len() > MOST, "the control");
        check(&root).unwrap();
    }
}
