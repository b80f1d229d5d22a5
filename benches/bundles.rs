//! Bundles per second: PFX and JKS by renewd, beside the programs that administrators use for the same.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and runs programs with files of its own"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use renewd::model::{KeyAlgorithm, PfxProfile, Seconds, Timestamp};
use renewd::pki::{Material, Secret, jks, pem, pfx};

use crate::certs;

/// One line for each form; leaf and intermediate in each bundle; one thread.
pub(crate) fn run() {
    println!("bundles per second, one thread, leaf and intermediate");
    println!("{:44} {:>10} {:>10}", "", "rsa-2048", "ec-p256");
    let now = Timestamp(1_796_083_200);
    let year = certs::Validity(now, now + Seconds::days(365));
    let make = |algorithm| certs::sample(algorithm, &["www.example.com"], year).material;
    let materials = [make(KeyAlgorithm::Rsa2048), make(KeyAlgorithm::EcP256)];
    let secret = Secret::from(PASSWORD.to_owned());
    let secret = Some(&secret);

    line(
        "PFX modern (AES-256, 10 000 rounds)",
        &materials,
        |material| pfx::write(material, "www", PfxProfile::Modern, secret).is_ok(),
    );
    line(
        "PFX java8, windows2016 (3DES, 2048 rounds)",
        &materials,
        |material| pfx::write(material, "www", PfxProfile::Windows2016, secret).is_ok(),
    );
    line("JKS", &materials, |material| {
        jks::write(material, "www", secret).is_ok()
    });

    let desk = std::env::temp_dir().join(format!("renewd-bench-{}", std::process::id()));
    std::fs::create_dir_all(&desk).expect("the directory for temporary files is writable");
    // As many rounds as our modern PFX has; OpenSSL's own default is 2048.
    line(
        "openssl pkcs12 -export, a process each",
        &materials,
        |material| openssl(&desk, material),
    );
    line(
        "keytool -importkeystore to JKS, a process each",
        &materials,
        |material| {
            let prepared = desk.join("out.pfx").exists() && is_for(&desk, material);
            (prepared || openssl(&desk, material)) && keytool(&desk)
        },
    );
    let _ = std::fs::remove_dir_all(&desk);
}

/// Runs `make` for each material until enough time has passed, and prints how often it went in a second.
fn line(name: &str, materials: &[Material], make: impl Fn(&Material) -> bool) {
    let rates = materials.iter().map(|material| {
        assert!(make(material), "{name} works once before it is measured");
        let (begin, mut count) = (Instant::now(), 0u32);
        while begin.elapsed() < ENOUGH {
            assert!(make(material), "{name}");
            count += 1;
        }
        f64::from(count) / begin.elapsed().as_secs_f64()
    });
    let rates: Vec<String> = rates.map(|rate| format!("{rate:>10.1}")).collect();
    println!("{name:46} {}", rates.join(" "));
}

fn openssl(desk: &Path, material: &Material) -> bool {
    if !is_for(desk, material) {
        let chain = pem::certificate(&material.chain[0]);
        let put = |name: &str, bytes: &[u8]| std::fs::write(desk.join(name), bytes).is_ok();
        let ready = put("key.pem", material.key.to_pem().expose())
            && put("chain.pem", chain.as_bytes())
            && put("cert.pem", material.leaf_pem().as_bytes());
        assert!(ready, "the input of openssl is written");
    }
    let arguments = "pkcs12 -export -inkey key.pem -in cert.pem -certfile chain.pem -iter 10000 -name www -passout env:BENCH_PASSWORD -out out.pfx";
    succeeds("openssl", arguments, desk)
}

fn keytool(desk: &Path) -> bool {
    let _ = std::fs::remove_file(desk.join("out.jks"));
    let arguments = "-importkeystore -noprompt -srckeystore out.pfx -srcstorepass:env BENCH_PASSWORD -destkeystore out.jks -deststoretype JKS -deststorepass:env BENCH_PASSWORD";
    succeeds("keytool", arguments, desk)
}

/// Whether the files on the desk are of this material.
fn is_for(desk: &Path, material: &Material) -> bool {
    std::fs::read(desk.join("cert.pem")).is_ok_and(|text| text == material.leaf_pem().as_bytes())
}

fn succeeds(program: &str, arguments: &str, desk: &Path) -> bool {
    Command::new(program)
        .args(arguments.split(' '))
        .current_dir(desk)
        .env("BENCH_PASSWORD", PASSWORD)
        .output()
        .is_ok_and(|output| output.status.success())
}

const PASSWORD: &str = "correct.horse";
/// Long enough for three runs of a JVM.
const ENOUGH: Duration = Duration::from_secs(3);
