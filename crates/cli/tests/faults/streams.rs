//! Outputs and inputs that are streams.

use super::writers::{WRITERS, line, prepare, refuse_early};
use super::{ENDLESS, command, epoch_of, files, limited, quietly};
use crate::cli::{devices, refuse, succeed, succeed_quietly};
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

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
                // An error of stdin names stdin.
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
    // The reader leaves before the program starts: a short output would fit the pipe.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command(folder, line).stdout(writer).output().unwrap()
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
    // The data are lost, unless they are a mask, of which a part is of use.
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
