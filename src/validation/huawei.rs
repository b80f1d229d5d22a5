//! Records in Huawei Cloud DNS. All values of a name are one record set there, so a value is merged in and out again, and
//! the set is read back: another host may change it at the same moment.

use crate::ccm::{Dns, DnsZone, RecordSet, RecordSetWanted};
use crate::model::{DomainProof, ErrorClass};
use crate::validation::ValidationError;

/// Adds the value of a proof to the record set of its name; no change where it is there.
pub(super) async fn publish(dns: &Dns, proof: &DomainProof) -> Result<(), ValidationError> {
    let what = format!("adding the record {} at {}", proof.place, dns.host());
    let done = async {
        let zone = zone(dns, &proof.place).await?;
        for _ in 0..TRIES {
            let sets = sets(dns, &zone, proof).await?;
            if has(&sets, proof) {
                return Ok(());
            }
            match sets.first() {
                Some(set) => {
                    let mut records = set.records.clone();
                    records.push(written(proof));
                    let ttl = set.ttl.unwrap_or(TTL);
                    let wanted = wanted(proof, ttl, records);
                    dns.replace(&zone.id, &set.id, &wanted).await?;
                }
                None => {
                    let wanted = wanted(proof, TTL, vec![written(proof)]);
                    match dns.create(&zone.id, &wanted).await {
                        Ok(_) => {}
                        // Another host was faster, or an earlier call of ours had its effect: the next round shows.
                        Err(error) if is_there(error.code.as_deref()) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        // Read once more, after the last write.
        if has(&sets(dns, &zone, proof).await?, proof) {
            return Ok(());
        }
        Err(ValidationError::transient(
            "others change the record set all the time; tried again later",
        ))
    };
    done.await.map_err(|error| error.of(&what))
}

/// Takes the value of a proof out of the record set of its name, and the set away with the last value.
pub(super) async fn retract(dns: &Dns, proof: &DomainProof) -> Result<(), ValidationError> {
    let what = format!("taking the record {} away at {}", proof.place, dns.host());
    let done = async {
        let zone = zone(dns, &proof.place).await?;
        for _ in 0..TRIES {
            let sets = sets(dns, &zone, proof).await?;
            let Some(set) = sets.iter().find(|set| holds(set, proof)) else {
                return Ok(());
            };
            let rest: Vec<String> = set
                .records
                .iter()
                .filter(|record| !is(record, proof))
                .cloned()
                .collect();
            if rest.is_empty() {
                match dns.delete(&zone.id, &set.id).await {
                    Err(error) if error.status == Some(404) => {}
                    other => other?,
                }
            } else {
                let wanted = wanted(proof, set.ttl.unwrap_or(TTL), rest);
                dns.replace(&zone.id, &set.id, &wanted).await?;
            }
        }
        if has(&sets(dns, &zone, proof).await?, proof) {
            return Err(ValidationError::transient(
                "others change the record set all the time; tried again later",
            ));
        }
        Ok(())
    };
    done.await.map_err(|error| error.of(&what))
}

/// The zone of the account that holds a name: the longest name that is one.
async fn zone(dns: &Dns, place: &str) -> Result<DnsZone, ValidationError> {
    let mut name = place.trim_end_matches('.');
    while name.contains('.') {
        if let Some(zone) = dns.zones(&format!("{name}.")).await?.into_iter().next() {
            return Ok(zone);
        }
        name = name.split_once('.').map_or("", |(_, above)| above);
    }
    Err(ValidationError::new(
        ErrorClass::Configuration,
        "the account has no public zone for it; make the zone in Huawei Cloud DNS, or prove the domain in another way",
    ))
}

async fn sets(
    dns: &Dns,
    zone: &DnsZone,
    proof: &DomainProof,
) -> Result<Vec<RecordSet>, ValidationError> {
    Ok(dns
        .record_sets(&zone.id, &absolute(&proof.place), kind(proof))
        .await?)
}

fn wanted(proof: &DomainProof, ttl: u32, records: Vec<String>) -> RecordSetWanted {
    RecordSetWanted {
        name: absolute(&proof.place),
        kind: kind(proof).to_owned(),
        ttl,
        records,
    }
}

fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn kind(proof: &DomainProof) -> &'static str {
    if proof.record_type.eq_ignore_ascii_case("CNAME") {
        "CNAME"
    } else {
        "TXT"
    }
}

/// As the API writes values: texts in quotation marks, names with the final dot.
fn written(proof: &DomainProof) -> String {
    if kind(proof) == "CNAME" {
        absolute(&proof.value)
    } else {
        format!("\"{}\"", proof.value)
    }
}

fn is(record: &str, proof: &DomainProof) -> bool {
    let plain = |text: &str| {
        text.trim()
            .trim_matches('"')
            .trim_end_matches('.')
            .to_owned()
    };
    if kind(proof) == "CNAME" {
        plain(record).eq_ignore_ascii_case(&plain(&proof.value))
    } else {
        record.trim().trim_matches('"') == proof.value
    }
}

fn holds(set: &RecordSet, proof: &DomainProof) -> bool {
    set.records.iter().any(|record| is(record, proof))
}

fn has(sets: &[RecordSet], proof: &DomainProof) -> bool {
    sets.iter().any(|set| holds(set, proof))
}

/// `DNS.0312`, `DNS.0335`: there is a record set of this name and type.
fn is_there(code: Option<&str>) -> bool {
    matches!(code, Some("DNS.0312" | "DNS.0335"))
}

/// Seconds.
const TTL: u32 = 300;
/// Rounds of reading and writing.
const TRIES: usize = 3;
