//! Outputs that are refused before the work, and outputs and inputs that are streams.

use super::{ENDLESS, command, data, epoch_of, files, limited, quietly};
use crate::cli::{devices, refuse, succeed, succeed_quietly};
use crate::common::{self, noise};
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use tempfile::TempDir;
use wgpu_dropout_cli::npy;

/// Commands with their outputs, each as an option and a file, and with the inputs that no output
/// may replace. Without the first output, `convert`, `predict` and `demo` are not complete.
struct Writer {
    line: &'static str,
    outputs: &'static [&'static str],
    kept: &'static [&'static str],
}

const WRITERS: [Writer; 8] = [
    Writer {
        line: "dropout --input x.npy --drop .5 --grad-output g.npy",
        outputs: &["--grad-input", "--output", "--mask-output"],
        kept: &[],
    },
    Writer {
        line: "linear --input x.npy --weight w.npy --bias b.npy --drop .5 --grad-output dy.npy",
        outputs: &["--grad-input", "--output", "--mask-output", "--grad-weight", "--grad-bias"],
        kept: &["w.npy", "b.npy"],
    },
    Writer {
        line: "mask --rows 9 --cols 99 --drop .5 --format npy",
        outputs: &["--output"],
        kept: &[],
    },
    Writer {
        line: "predict --model net --data x.npy --samples 2",
        outputs: &["--output", "--spread", "--entropy", "--information"],
        kept: &["net", "x.npy"],
    },
    Writer {
        line: "train --data d.csv --hidden 4 --epochs 2",
        outputs: &["--save"],
        kept: &["d.csv"],
    },
    Writer { line: "convert --to burn --input net", outputs: &["--output"], kept: &["net"] },
    Writer { line: "demo --quick", outputs: &["--output"], kept: &[] },
    Writer {
        line: "bench --quick --only dropout --elements 1024",
        outputs: &["--html"],
        kept: &[],
    },
];

/// Returns a line with outputs to files `o0`, `o1`, … except that one output goes to `path`.
fn line(writer: &Writer, special: usize, path: &str) -> String {
    let outputs = writer.outputs.iter().enumerate().map(|(index, option)| {
        let path = if index == special { path.to_owned() } else { format!("o{index}") };
        format!(" {option} {path}")
    });
    format!("{}{}", writer.line, outputs.collect::<String>())
}

fn prepare() -> TempDir {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    for (name, shape) in [
        ("x.npy", &[2, 3][..]),
        ("g.npy", &[2, 3]),
        ("w.npy", &[3, 4]),
        ("b.npy", &[4]),
        ("dy.npy", &[2, 4]),
    ] {
        let values = noise(1, shape.iter().product());
        npy::write_f32(&folder.join(name), shape, &values).unwrap();
    }
    data(folder);
    succeed(folder, "train --device cpu --data d.csv --hidden 8 --epochs 1 --save net");
    guard
}

/// Every output of every command is checked before the work. A device that does not exist shows it:
/// its error would come first otherwise. `convert` has no device; there a missing input shows it.
fn refuse_early(folder: &Path, writer: &Writer, line: &str, status: i32) -> String {
    let line = if writer.line.starts_with("convert") {
        line.to_owned()
    } else {
        format!("{line} --device no-such-adapter")
    };
    let error = refuse(folder, &line, status);
    assert!(!error.contains("no-such-adapter") && !error.contains("no GPU"), "`{line}`: {error}");
    error
}

#[test]
fn what_can_be_known_beforehand_is_refused_before_the_work() {
    let guard = prepare();
    let folder = guard.path();
    std::fs::create_dir(folder.join("inner")).unwrap();
    std::fs::write(folder.join("file"), "a file").unwrap();
    let long = "n".repeat(303);
    for writer in &WRITERS {
        for index in 0..writer.outputs.len() {
            for (path, why) in [
                ("none/new", "there is no folder none"),
                ("inner", "is a folder"),
                ("inner/", "is a folder"),
                ("new/", "folder"),
                (".", "is a folder"),
                ("file/new", "Not a directory"),
                (&long, "too long"),
            ] {
                let error = refuse_early(folder, writer, &line(writer, index, path), 1);
                assert!(cfg!(not(target_os = "linux")) || error.contains(why), "{path}: {error}");
            }
        }
        // Control: without a fault in its outputs, the missing device is reported.
        if !writer.line.starts_with("convert") {
            let line = format!("{} --device no-such-adapter", line(writer, 0, "new"));
            let error = refuse(folder, &line, 1);
            assert!(error.contains("no-such-adapter") || error.contains("no GPU"), "{error}");
        }
    }
    for out in ["file", "file/o"] {
        refuse(
            folder,
            &format!("study ladder --data d.csv --device no-such-adapter --out {out}"),
            1,
        );
    }
    std::fs::create_dir_all(folder.join("s/ladder-1.svg")).unwrap();
    let error = refuse(folder, "study ladder --data d.csv --device no-such-adapter --out s", 1);
    assert!(error.contains("ladder-1.svg: is a folder"), "{error}");
}

#[test]
fn a_file_has_one_output_and_the_model_and_the_data_stay() {
    use std::os::unix::fs::symlink;
    let guard = prepare();
    let folder = guard.path();
    std::fs::create_dir(folder.join("inner")).unwrap();
    symlink(".", folder.join("here")).unwrap();
    symlink("o1", folder.join("to-o1")).unwrap();
    for there in [false, true] {
        for writer in &WRITERS {
            // The second output under another name is the first.
            if writer.outputs.len() > 1 {
                for name in ["o1", "./o1", "inner/../o1", "here/o1", "to-o1"] {
                    let error = refuse_early(folder, writer, &line(writer, 0, name), 2);
                    assert!(error.contains("both name"), "{error}");
                    let flags = &writer.outputs[..2];
                    assert!(flags.iter().all(|flag| error.contains(flag)), "{error}");
                }
            }
            for kept in writer.kept {
                let hard = format!("hard-{kept}");
                let _ = std::fs::hard_link(folder.join(kept), folder.join(&hard));
                for name in [kept, &*format!("here/{kept}"), &*hard] {
                    for index in 0..writer.outputs.len() {
                        let error = refuse_early(folder, writer, &line(writer, index, name), 2);
                        assert!(error.contains("would replace the file that --"), "{error}");
                    }
                }
                std::fs::remove_file(folder.join(hard)).unwrap();
            }
        }
        if !there {
            std::fs::write(folder.join("o1"), "old").unwrap();
        }
    }
    // The files of a folder of data are data, too.
    std::fs::create_dir(folder.join("idx")).unwrap();
    for name in ["train-images-idx3-ubyte", "t10k-labels.idx1-ubyte.gz"] {
        std::fs::write(folder.join("idx").join(name), "data").unwrap();
        let error = refuse(folder, &format!("train --data idx --save idx/{name}"), 2);
        assert!(error.contains("would replace the file that --data reads"), "{error}");
    }
    // What may be replaced: an array by its own result, a network by the one that goes on from it.
    succeed_quietly(folder, "dropout --device cpu --input g.npy --output g.npy --drop .5");
    succeed_quietly(folder, "train --device cpu --data d.csv --resume net --epochs 2 --save net");
    assert_eq!(epoch_of(&folder.join("net")), 2);
    succeed_quietly(
        folder,
        "dropout --device cpu --input x.npy --output /dev/null --mask-output /dev/null --drop .5",
    );
}

#[test]
fn a_later_output_that_fails_leaves_the_earlier_ones_as_they_were() {
    if !Path::new("/dev/full").exists() {
        return common::skipped("there is no /dev/full");
    }
    let guard = prepare();
    let folder = guard.path();
    for device in devices() {
        for writer in WRITERS.iter().filter(|writer| writer.outputs.len() > 1) {
            for index in 0..writer.outputs.len() {
                for other in (0..writer.outputs.len()).filter(|other| *other != index) {
                    std::fs::write(folder.join(format!("o{other}")), "old").unwrap();
                }
                let line = format!("{} --device {device}", line(writer, index, "/dev/full"));
                let error = refuse(folder, &line, 1);
                assert!(error.contains("/dev/full: "), "{error}");
            }
        }
        // The input itself, as an output that is written first.
        for line in [
            "dropout --input x.npy --output x.npy --mask-output /dev/full --drop .5",
            "linear --input x.npy --weight w.npy --output x.npy --mask-output /dev/full --drop .5",
            "dropout --input x.npy --output x.npy --mask-output none/m --drop .5",
        ] {
            refuse(folder, &format!("{line} --device {device}"), 1);
        }
    }
}

#[test]
fn a_link_s_target_is_replaced_and_not_the_link() {
    let guard = prepare();
    let folder = guard.path();
    std::fs::create_dir(folder.join("inner")).unwrap();
    for there in [false, true] {
        for writer in &WRITERS[..6] {
            for index in 0..writer.outputs.len() {
                let (target, link) = (folder.join("inner/target"), folder.join("link"));
                let _ = (std::fs::remove_file(&target), std::fs::remove_file(&link));
                if there {
                    std::fs::write(&target, "old").unwrap();
                }
                std::os::unix::fs::symlink("inner/target", &link).unwrap();
                let line = format!("{} --device cpu", line(writer, index, "link"));
                succeed_quietly(folder, &line);
                assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink(), "{line}");
                assert!(std::fs::read(&target).unwrap().len() > 50, "{line}");
            }
        }
    }
}

/// Runs a line with bytes as its stdin.
fn fed(folder: &Path, line: &str, input: &[u8]) -> Output {
    let mut command = command(folder, line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that fails does not read all.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Each output of each command goes to stdout, under three names: stdout has the bytes that a file
/// gets and nothing else.
#[test]
fn data_on_stdout_are_all_of_stdout() {
    let guard = prepare();
    let folder = guard.path();
    for device in devices() {
        for writer in &WRITERS {
            let exact = !writer.line.starts_with("demo") && !writer.line.starts_with("bench");
            if !exact && device != "cpu" {
                continue;
            }
            for index in 0..writer.outputs.len() {
                let to = |path: &str| format!("{} --device {device}", line(writer, index, path));
                succeed_quietly(folder, &to("file"));
                let expected = std::fs::read(folder.join("file")).unwrap();
                let names = if exact { &["-", "/dev/stdout", "/dev/fd/1"][..] } else { &["-"] };
                for name in names {
                    let run = fed(folder, &to(name), b"");
                    let stderr = String::from_utf8(run.stderr).unwrap();
                    assert_eq!(run.status.code(), Some(0), "{}: {stderr}", to(name));
                    if exact {
                        assert_eq!(run.stdout, expected, "{}", to(name));
                    } else {
                        assert!(run.stdout.ends_with(b"</html>\n"), "{}", to(name));
                        assert!(run.stdout.starts_with(b"<!doctype"), "{}", to(name));
                    }
                    assert!(stderr.lines().count() >= 1, "{}: the messages are lost", to(name));
                }
            }
        }
    }
    // Without --output, too. A file that stdout is appended to is not replaced.
    let bits = "mask --rows 3 --cols 40 --drop .5 --device cpu";
    let expected = succeed(folder, bits);
    for name in ["-", "/dev/stdout"] {
        assert_eq!(succeed(folder, &format!("{bits} --output {name}")), expected);
        let line = format!("{bits} --output {name}");
        std::fs::write(folder.join("log"), "before\n").unwrap();
        assert_eq!(limited(folder, "exec >>log", &line).status.code(), Some(0));
        let log = std::fs::read_to_string(folder.join("log")).unwrap();
        assert_eq!(log, format!("before\n{expected}"));
    }
}

/// Returns the arguments of each input that may come from stdin, with the file that it reads.
fn inputs(line: &str) -> Vec<(&str, &str)> {
    let words: Vec<&str> = line.split(' ').collect();
    let names = ["--input", "--weight", "--bias", "--grad-output", "--model"];
    words
        .windows(2)
        .filter(|pair| names.contains(&pair[0]))
        .map(|pair| (pair[0], pair[1]))
        .collect()
}

#[test]
fn each_input_may_be_stdin() {
    let guard = prepare();
    let folder = guard.path();
    for writer in &WRITERS[..6] {
        let line = format!("{} --device cpu", line(writer, 0, "o0"));
        succeed_quietly(folder, &line);
        let expected = std::fs::read(folder.join("o0")).unwrap();
        for (option, file) in inputs(&line) {
            let bytes = std::fs::read(folder.join(file)).unwrap();
            for name in ["-", "/dev/stdin"] {
                let piped = line.replace(&format!("{option} {file}"), &format!("{option} {name}"));
                std::fs::remove_file(folder.join("o0")).unwrap();
                let run = fed(folder, &piped, &bytes);
                let stderr = String::from_utf8(run.stderr).unwrap();
                assert_eq!((run.status.code(), &*stderr), (Some(0), ""), "{piped}");
                assert_eq!(std::fs::read(folder.join("o0")).unwrap(), expected, "{piped}");
                // What is wrong with stdin is said of stdin.
                let run = fed(folder, &piped, &bytes[..bytes.len() / 2]);
                let stderr = String::from_utf8(run.stderr).unwrap();
                assert_eq!(run.status.code(), Some(1), "{piped}");
                let shown = if name == "-" { "stdin" } else { name };
                assert!(stderr.starts_with(&format!("error: {shown}: ")), "{piped}: {stderr}");
            }
        }
    }
    let resumed = "train --device cpu --data d.csv --epochs 3 --save";
    succeed_quietly(folder, &format!("{resumed} o0 --resume net"));
    let net = std::fs::read(folder.join("net")).unwrap();
    let run = fed(folder, &format!("{resumed} - --resume -"), &net);
    assert_eq!(run.stdout, std::fs::read(folder.join("o0")).unwrap());
}

#[test]
fn a_command_reads_what_another_writes_into_a_pipe() {
    let guard = prepare();
    let folder = guard.path();
    for device in devices() {
        let pipe = |first: &str, second: &str| {
            let first = format!("{first} --device {device}");
            let run = fed(folder, &first, b"");
            assert_eq!(run.status.code(), Some(0), "{first}");
            let second = format!("{second} --device {device}");
            let run = fed(folder, &second, &run.stdout);
            assert_eq!(
                run.status.code(),
                Some(0),
                "{second}: {}",
                String::from_utf8_lossy(&run.stderr)
            );
            run.stdout
        };
        for (stdin, stdout) in [("-", "-"), ("/dev/stdin", "/dev/stdout")] {
            let dropout =
                |from: &str, to: &str| format!("dropout --drop .5 --input {from} --output {to}");
            succeed_quietly(folder, &format!("{} --device {device}", dropout("x.npy", "1.npy")));
            succeed_quietly(folder, &format!("{} --device {device}", dropout("1.npy", "2.npy")));
            assert_eq!(
                pipe(&dropout("x.npy", stdout), &dropout(stdin, stdout)),
                std::fs::read(folder.join("2.npy")).unwrap()
            );
            let predict = "predict --data x.npy --output";
            let trained = pipe(
                &format!("train --data d.csv --hidden 4 --epochs 2 --save {stdout}"),
                &format!("{predict} {stdout} --model {stdin}"),
            );
            succeed_quietly(
                folder,
                &format!("train --data d.csv --hidden 4 --epochs 2 --save n2 --device {device}"),
            );
            succeed_quietly(folder, &format!("{predict} p.npy --model n2 --device {device}"));
            assert_eq!(trained, std::fs::read(folder.join("p.npy")).unwrap());
            let converted = pipe(
                &format!("convert --to pytorch --input n2 --output {stdout}"),
                &format!("convert --from pytorch --input {stdin} --output {stdout}"),
            );
            std::fs::write(folder.join("n3"), converted).unwrap();
            succeed_quietly(folder, &format!("{predict} q.npy --model n3 --device {device}"));
            assert_eq!(trained, std::fs::read(folder.join("q.npy")).unwrap());
        }
    }
}

#[test]
fn stdin_and_stdout_are_used_once() {
    let guard = prepare();
    let folder = guard.path();
    for writer in &WRITERS {
        for (index, option) in writer.outputs.iter().enumerate() {
            for name in ["-", "/dev/stdout"] {
                // `refuse` reads stdout through a pipe.
                let one = line(writer, index, name);
                let error = refuse_early(folder, writer, &format!("{one} --json"), 2);
                assert!(error.contains(&format!("{option} {name} is stdout")), "{error}");
                if writer.outputs.len() > 1 {
                    let other = (index + 1) % writer.outputs.len();
                    let two = one.replace(&format!(" o{other}"), " -");
                    let error = refuse_early(folder, writer, &two, 2);
                    assert!(error.contains("both name stdout"), "{error}");
                }
            }
        }
        let one = line(writer, 0, "o0");
        let inputs = inputs(&one);
        for pair in inputs.windows(2) {
            let two = pair.iter().fold(one.clone(), |line, (option, file)| {
                line.replace(&format!("{option} {file}"), &format!("{option} -"))
            });
            let error = refuse_early(folder, writer, &two, 2);
            assert!(error.contains("both read stdin"), "{error}");
        }
    }
    for two in ["train --data - --resume - --save n", "predict --data - --model - --output p.npy"] {
        assert!(refuse(folder, two, 2).contains("both read stdin"));
    }
}

/// Runs a line with a stdout that nobody reads.
fn unread(folder: &Path, line: &str) -> Output {
    let mut child = command(folder, line);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

#[test]
fn a_reader_that_leaves_ends_no_command_that_saves() {
    let guard = prepare();
    let folder = guard.path();
    for json in ["", " --json"] {
        for writer in &WRITERS {
            let line = format!("{} --device cpu{json}", line(writer, 0, "o0"));
            let run = unread(folder, &line);
            let stderr = String::from_utf8(run.stderr).unwrap();
            assert_eq!((run.status.code(), &*stderr), (Some(0), ""), "{line}");
            for index in 0..writer.outputs.len() {
                std::fs::remove_file(folder.join(format!("o{index}"))).unwrap();
            }
        }
        let study = "study ladder --data d.csv --updates 15 --seeds 1 --device cpu --out";
        unread(folder, &format!("{study} s{json}"));
        let names = |folder: &str| files(&guard.path().join(folder)).into_keys().count();
        command(folder, &format!("{study} whole{json}")).output().unwrap();
        assert_eq!(names("s"), names("whole"));
        assert!(folder.join("s/study.html").exists());
        std::fs::remove_dir_all(folder.join("s")).unwrap();
    }
    let train = "train --device cpu --data d.csv --hidden 4 --epochs 30 --save";
    assert_eq!(unread(folder, &format!("{train} net")).status.code(), Some(0));
    assert_eq!(epoch_of(&folder.join("net")), 30);
    // What was to be read is lost, unless it is a mask, of which a part is of use.
    for line in
        [format!("{train} -"), "dropout --device cpu --input x.npy --drop .5 --output -".to_owned()]
    {
        let run = unread(folder, &line);
        let stderr = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("error: stdout: "), "{stderr}");
    }
    for format in ["bits", "npy"] {
        let mask = "mask --device cpu --rows 4000 --cols 1000 --drop .5 --output -";
        let run = unread(folder, &format!("{mask} --format {format}"));
        assert_eq!((run.status.code(), run.stderr.len()), (Some(0), 0));
    }
    // Control: a training that does not save ends.
    let start = std::time::Instant::now();
    assert_eq!(unread(folder, ENDLESS).status.code(), Some(0));
    assert!(start.elapsed() < std::time::Duration::from_secs(60));
}

#[test]
fn a_named_pipe_is_written_once_and_before_the_files() {
    let guard = prepare();
    let folder = guard.path();
    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let train = "train --device cpu --data d.csv --hidden 4 --epochs 3 --save";
    succeed_quietly(folder, &format!("{train} net"));
    let mut child = quietly(command(folder, &format!("{train} pipe")));
    assert_eq!(std::fs::read(&pipe).unwrap(), std::fs::read(folder.join("net")).unwrap());
    assert!(child.wait().unwrap().success());

    let line = "dropout --device cpu --input x.npy --drop .5 --output";
    succeed_quietly(folder, &format!("{line} y.npy --mask-output m.npy"));
    let expected = ["y.npy", "m.npy"].map(|name| std::fs::read(folder.join(name)).unwrap());
    std::fs::remove_file(folder.join("y.npy")).unwrap();
    let mut child = quietly(command(folder, &format!("{line} y.npy --mask-output pipe")));
    // The command waits for a reader of the pipe. Its file is not yet in place.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none() && !folder.join("y.npy").exists());
    assert_eq!(std::fs::read(&pipe).unwrap(), expected[1]);
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read(folder.join("y.npy")).unwrap(), expected[0]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_need_not_be_utf_8_and_another_argument_that_is_not_is_named() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;
    let guard = prepare();
    let folder = guard.path();
    let name = |end: &str| -> OsString {
        OsStr::from_bytes(&[b"\xff\xfe", end.as_bytes()].concat()).to_owned()
    };
    std::fs::copy(folder.join("d.csv"), folder.join(name(".csv"))).unwrap();
    std::fs::copy(folder.join("x.npy"), folder.join(name(".npy"))).unwrap();
    let run = |line: &str, more: &[(&str, OsString)]| {
        let mut command = command(folder, line);
        more.iter().for_each(|(option, value)| {
            command.arg(option).arg(value);
        });
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let cpu = |line: &str| format!("{line} --device cpu");
    for (line, names) in [
        ("train --hidden 4 --epochs 1", &[("--data", ".csv"), ("--save", "net")][..]),
        ("train --epochs 2", &[("--data", ".csv"), ("--resume", "net"), ("--save", "net")]),
        ("predict", &[("--data", ".npy"), ("--model", "net"), ("--output", "p")]),
        ("convert --to pytorch", &[("--input", "net"), ("--output", "t")]),
        ("dropout --drop .5", &[("--input", ".npy"), ("--output", "y"), ("--mask-output", "m")]),
        ("mask --rows 2 --cols 2 --drop .5", &[("--output", "m")]),
        ("bench --quick --only dropout --elements 1024", &[("--html", "b")]),
        ("train --json --hidden 4 --epochs 1", &[("--data", ".csv"), ("--save", "net")]),
    ] {
        let names: Vec<_> = names.iter().map(|(option, end)| (*option, name(end))).collect();
        assert_eq!(run(&cpu(line), &names), (Some(0), String::new()), "{line}");
        for (option, name) in names.iter().filter(|(option, _)| *option != "--data") {
            assert!(folder.join(name).exists(), "{line} {option}");
        }
    }
    let data = ("--data", name(".csv"));
    for option in ["--hidden", "--device", "--mode", "--epochs", "--schedule"] {
        let (status, error) = run("train", &[data.clone(), (option, name("x"))]);
        assert_eq!(status, Some(2), "{error}");
        assert!(error.contains(option) && error.contains("UTF-8"), "{error}");
        assert!(!error.contains("--data"), "{error}");
    }
    let (status, error) = run("mask", &[("--rows=2", name("x"))]);
    assert_eq!(status, Some(2), "{error}");
}
