//! Decisions about installations on simulated machines; nothing is run.

use super::*;
use crate::machine::fake::Fake;

fn debian() -> Fake {
    distribution("apt-get", "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\n")
        .file(LIST, "")
}

const LIST: &str =
    "/var/lib/apt/lists/deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages.lz4";

fn distribution(program: &str, release: &str) -> Fake {
    Fake::linux()
        .var("PATH", "/usr/sbin:/usr/bin")
        .file(&format!("/usr/bin/{program}"), "")
        .file("/etc/os-release", release)
}

fn root(machine: Fake) -> Fake {
    machine.command("id -u", "0\n")
}

fn job(machine: &Fake) -> Job {
    match plan(machine, Wanted::Driver) {
        Plan::Run(job) => job,
        Plan::Tell(advice) => panic!("told: {advice}"),
    }
}

fn told(machine: &Fake) -> String {
    match plan(machine, Wanted::Driver) {
        Plan::Run(job) => panic!("would run: {job:?}"),
        Plan::Tell(advice) => advice,
    }
}

const APT: &str = "apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1";

#[test]
fn each_distribution_gets_its_own_command() {
    let cases = [
        ("apt-get", "ID=ubuntu\nID_LIKE=debian\n", APT),
        ("apt-get", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", APT),
        ("dnf", "ID=fedora\n", "dnf install -y mesa-vulkan-drivers vulkan-loader"),
        (
            "dnf",
            "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
            "dnf install -y mesa-vulkan-drivers vulkan-loader",
        ),
        ("pacman", "ID=arch\n", "pacman -S --noconfirm --needed vulkan-swrast vulkan-icd-loader"),
        (
            "zypper",
            "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n",
            "zypper --non-interactive install --no-recommends libvulkan_lvp libvulkan1",
        ),
        ("apk", "ID=alpine\n", "apk add --no-cache mesa-vulkan-swrast vulkan-loader"),
    ];
    for (program, release, expected) in cases {
        assert_eq!(
            job(&root(distribution(program, release))).install.join(" "),
            expected,
            "{release}"
        );
    }
}

#[test]
fn the_distributions_own_manager_wins_over_others_beside_it() {
    let machine = root(distribution("pacman", "ID=arch\n")).file("/usr/bin/apt-get", "");
    assert_eq!(job(&machine).install[0], "pacman");
    // Unknown distribution, or no os-release at all: use the installed manager.
    assert_eq!(job(&root(distribution("dnf", "ID=unheard-of\n"))).install[0], "dnf");
    assert_eq!(
        job(&root(Fake::linux().var("PATH", "/bin").file("/bin/apk", ""))).install[0],
        "apk"
    );
    // A known distribution without its manager, and a machine without any manager.
    assert_eq!(job(&root(distribution("dnf", "ID=debian\n"))).install[0], "dnf");
    assert!(told(&root(distribution("nix", "ID=nixos\n"))).starts_with("install a Vulkan driver"));
}

#[test]
fn lists_are_fetched_first_only_where_there_are_none() {
    let there = job(&root(debian()));
    assert!(!there.refresh_first);
    assert_eq!(there.refresh, Some(vec!["apt-get", "update"]));

    // A leftover file in the folder is not a list.
    let release = "ID=debian\n";
    let gone = job(&root(distribution("apt-get", release)).file("/var/lib/apt/lists/lock", ""));
    assert!(gone.refresh_first);
    assert_eq!(gone.by_hand(), format!("apt-get update && {APT}"));

    let arch = distribution("pacman", "ID=arch\n");
    assert_eq!(job(&root(arch)).refresh, Some(vec!["pacman", "-Sy", "--noconfirm"]));
    // Never a partial upgrade on an Arch machine that has lists.
    let arch = distribution("pacman", "ID=arch\n").file("/var/lib/pacman/sync/extra.db", "");
    assert_eq!(job(&root(arch)).refresh, None);
}

#[test]
fn rights_decide_how_it_runs() {
    assert_eq!(job(&root(debian())).install.join(" "), APT);
    let sudo = debian().command("id -u", "1000\n").command("sudo -n true", "");
    assert_eq!(
        job(&sudo).install.join(" "),
        format!("sudo -n env DEBIAN_FRONTEND=noninteractive {APT}")
    );
    let fedora = distribution("dnf", "ID=fedora\n").command("sudo -n true", "");
    assert_eq!(job(&fedora).install[..3], ["sudo", "-n", "dnf"]);
    // Neither root nor sudo without a password: print the commands, with the lists first if they
    // are missing.
    assert_eq!(
        told(&debian().command("id -u", "1000\n")),
        format!("to use the GPU path, run: sudo {APT}")
    );
    let fresh = distribution("apt-get", "ID=debian\n");
    assert_eq!(
        told(&fresh),
        format!("to use the GPU path, run: sudo apt-get update && sudo {APT}")
    );
}

#[test]
fn nothing_is_installed_against_the_users_will() {
    for variable in driver::NAMED_BY_USER {
        let named = root(debian()).var(variable, "/opt/own.json");
        assert_eq!(
            told(&named),
            format!("{variable} names the driver to use, so none is installed")
        );
    }
    let off = told(&root(debian()).var("WGPU_DROPOUT_NO_INSTALL", "1"));
    assert_eq!(off, format!("WGPU_DROPOUT_NO_INSTALL is set; by hand: {APT}"));
    job(&root(debian()).var("WGPU_DROPOUT_NO_INSTALL", "0"));
    assert!(told(&Fake { os: "freebsd", ..root(debian()) }).starts_with("install a Vulkan driver"));
}

#[test]
fn the_tools_have_packages_of_their_own_and_are_not_fetched_twice() {
    let bare = root(debian());
    assert_eq!(missing_tools(&bare).len(), 4);
    let Plan::Run(job) = plan(&bare, Wanted::Tools) else { panic!("told") };
    assert!(
        job.install.contains(&"spirv-tools") && !job.install.contains(&"mesa-vulkan-drivers"),
        "{job:?}"
    );
    // Naming a driver does not prevent installing the tools; WGPU_DROPOUT_NO_INSTALL does.
    assert!(matches!(
        plan(&root(debian()).var("VK_DRIVER_FILES", "/opt/own.json"), Wanted::Tools),
        Plan::Run(_)
    ));
    assert!(matches!(
        plan(&root(debian()).var("WGPU_DROPOUT_NO_INSTALL", "1"), Wanted::Tools),
        Plan::Tell(_)
    ));
    let mut whole = bare.file("/usr/bin/spirv-val", "").file("/usr/bin/glslangValidator", "");
    assert_eq!(missing_tools(&whole), ["the Vulkan validation layer", "EGL"]);
    for file in [
        "/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json",
        "/usr/lib/libEGL.so.1",
        "/usr/lib/libEGL_mesa.so.0",
    ] {
        whole = whole.file(file, "");
    }
    assert!(missing_tools(&whole).is_empty());
}

/// Runs a job in which the commands numbered in `failing`, from 1, fail. Returns the commands that
/// ran, and true if the job succeeded.
fn rehearse(job: &Job, failing: &[usize]) -> (Vec<String>, bool) {
    let mut ran = Vec::new();
    let ended = job.run_with(
        |_| (),
        |command| {
            ran.push(command.join(" "));
            if failing.contains(&ran.len()) { Err("failed".into()) } else { Ok(()) }
        },
    );
    (ran, ended.is_ok())
}

#[test]
fn a_failed_install_is_tried_again_once_with_fresh_lists() {
    let apt = job(&root(debian()));
    assert_eq!(rehearse(&apt, &[]), (vec![APT.into()], true));
    assert_eq!(rehearse(&apt, &[1]), (vec![APT.into(), "apt-get update".into(), APT.into()], true));
    assert_eq!(rehearse(&apt, &[1, 3]).0.len(), 3);
    assert_eq!(rehearse(&apt, &[1, 2]), (vec![APT.into(), "apt-get update".into()], false));

    let fresh = job(&root(distribution("apt-get", "ID=debian\n")));
    assert_eq!(rehearse(&fresh, &[]), (vec!["apt-get update".into(), APT.into()], true));
    assert_eq!(rehearse(&fresh, &[2]), (vec!["apt-get update".into(), APT.into()], false));

    assert_eq!(rehearse(&job(&root(distribution("dnf", "ID=fedora\n"))), &[1]).0.len(), 1);
}
