//! A further corpus of streams, where `VMDK_CORPUS` names a directory with a `manifest.tsv`: what the manifest expects of
//! each file is what the check says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use vmdk_backup::vmdk::{Check, CheckOptions, Facts, Flaw};

use super::check_with;
use super::decode::decode;
use super::normalize::{lenient, normalized};

/// One line of the manifest, by column name.
type Row = HashMap<String, String>;

fn manifest(corpus: &Path) -> Vec<Row> {
    let path = corpus.join("manifest.tsv");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned));
    let names: Vec<String> = lines.next().expect("a heading").collect();
    lines
        .map(|values| names.iter().cloned().zip(values).collect())
        .collect()
}

fn check(stream: &[u8]) -> Result<Facts, Flaw> {
    let mut check = Check::new(&CheckOptions::default()).expect("threads");
    for slab in stream.chunks(100_000) {
        check.feed(Bytes::copy_from_slice(slab))?;
    }
    check.finish()
}

/// Why the verdict is not the expected one, if it is not.
fn complaint(row: &Row, verdict: &Result<Facts, Flaw>) -> Option<String> {
    let capacity = row["capacity_sectors"].parse::<u64>().expect("a number") * 512;
    match (row["expect_verify"].as_str(), verdict) {
        ("accept" | "either", Ok(facts)) if facts.capacity == capacity => None,
        ("reject" | "either", Err(flaw)) => {
            let class = format!("{:?}", flaw.kind);
            let classes = &row["error_class"];
            let known = classes.split('|').any(|c| c == class) || classes.is_empty();
            (!known).then(|| format!("{flaw}: {class}, expected {classes}"))
        }
        (expected, verdict) => Some(format!("expected {expected}, got {verdict:?}")),
    }
}

#[test]
fn every_stream_of_the_further_corpus_gets_its_verdict() {
    let Some(corpus) = std::env::var_os("VMDK_CORPUS").map(PathBuf::from) else {
        eprintln!("VMDK_CORPUS is not set: no further corpus was read");
        return;
    };
    let rows = manifest(&corpus);
    assert!(!rows.is_empty(), "the manifest lists no file");
    let (mut complaints, mut rewritten) = (Vec::new(), 0);
    let mut contents: HashMap<String, (String, Option<[u8; 32]>)> = HashMap::new();
    for row in &rows {
        let file = &row["file"];
        let stream = std::fs::read(corpus.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let verdict = check(&stream);
        eprintln!(
            "{file}: {}",
            verdict
                .as_ref()
                .map_or_else(|f| format!("{:?}: {f}", f.kind), |_| "whole".to_owned())
        );
        complaints.extend(complaint(row, &verdict).map(|c| format!("{file}: {c}")));
        if verdict.is_ok() {
            let (raw, _) = decode(&CheckOptions::default(), &stream).expect("it was whole");
            let digest: [u8; 32] = Sha256::digest(&raw).into();
            let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
            if hex != row["raw_sha256"] {
                complaints.push(format!("{file}: decoded to another disk than it holds"));
            }
        }
        // Also those that lack an end-of-stream marker become normal, and hold the same disk then.
        if let Ok(before) = check_with(&lenient(), &stream, 100_000)
            && before.normalized_length.is_some()
        {
            let (_, _, after) = normalized(&stream);
            if after.content_digest != before.content_digest {
                complaints.push(format!("{file}: normalized to another disk than it holds"));
            }
            rewritten += 1;
        }
        // Encodings of one disk by different writers share the content digest, and those of different disks do not.
        if let Ok(facts) = &verdict {
            let raw = row["raw_sha256"].clone();
            let digest = facts.content_digest;
            let (first, known) = contents
                .entry(raw)
                .or_insert_with(|| (file.clone(), digest));
            if *known != digest {
                complaints.push(format!(
                    "{file}: another content digest than {first}, of the same disk"
                ));
            }
        }
    }
    assert!(rewritten > 0, "nothing was normalized");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    eprintln!(
        "{} streams of {}, {rewritten} normalized",
        rows.len(),
        corpus.display()
    );
}
