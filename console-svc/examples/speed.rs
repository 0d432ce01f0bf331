#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, clippy::all)]
#[path = "../tests/it/billing.rs"]
mod billing;
#[path = "../tests/it/harness.rs"]
mod harness;
use std::time::Instant;
use harness::*;
use tandem_proto::console::v1 as console;

fn batch(ws: &[String], n: usize, round: i64) -> Vec<console::UsagePoint> {
    (0..n).map(|i| {
        let mut p = point(&ws[i % ws.len()], "2026-03-01T10:00:00Z", 2, round);
        p.sub_key = format!("k{}", i / ws.len());
        p
    }).collect()
}

#[tokio::main]
async fn main() {
    let h = Harness::start_with(Engine::Postgres, "2026-03-01T10:00:00Z", "").await;
    let mut ws = Vec::new();
    for i in 0..20 { ws.push(h.commercial("cn1", &format!("user{i}")).await.id); }
    let rounds = 150;
    let pool = h.context.db.postgres_pool().unwrap();
    let cpu = || { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect(); (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0 };
    if std::env::var("ONLY").is_err() {
    for mode in ["new", "again"] {
    // reference
    let t = Instant::now();
    for r in 0..rounds {
        let mut b = batch(&ws, 1000, 5);
        for p in &mut b { p.sub_key = format!("ref{r}-{}", p.sub_key); }
        let w: Vec<&str> = b.iter().map(|p| p.workspace_id.as_str()).collect();
        let s: Vec<&str> = b.iter().map(|p| p.sub_key.as_str()).collect();
        let ints = vec![2i32; 1000]; let days = vec![20260301i32;1000]; let ret = vec![14i32;1000]; let m=vec![0i32;1000];
        let hr = vec![1772359200000000i64;1000]; let q = vec![if mode=="new" {5i64} else {6}; 1000]; let pl=vec![0i32;1000];
        sqlx::query("INSERT INTO usage_point SELECT * FROM UNNEST($1::text[], $2::int4[], $3::int4[], $4::int4[], $5::text[], $6::int4[], $7::int8[], $8::int8[], $9::int4[]) ON CONFLICT (workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start) DO UPDATE SET quantity = excluded.quantity")
            .bind(w).bind(days).bind(ints).bind(ret).bind(s).bind(m).bind(hr).bind(q).bind(pl).execute(pool).await.unwrap();
    }
    let reference = rounds as f64 * 1000.0 / t.elapsed().as_secs_f64();
    // unary
    let mut c = h.counter();
    let t = Instant::now();
    for r in 0..rounds {
        let mut b = batch(&ws, 1000, 5);
        for p in &mut b { p.sub_key = format!("un{r}-{}", p.sub_key); }
        c.record_usage(console::RecordUsageRequest { request_id: format!("{mode}u{r}"), points: b }).await.unwrap();
    }
    let unary = rounds as f64 * 1000.0 / t.elapsed().as_secs_f64();
    // stream
    let m2 = mode.to_owned(); let ws2 = ws.clone();
    let t = Instant::now();
    let s = tokio_stream::iter((0..rounds).map(move |r| {
        let mut b = batch(&ws2, 1000, 5);
        for p in &mut b { p.sub_key = format!("st{r}-{}", p.sub_key); }
        console::RecordUsageStreamRequest { request_id: format!("{m2}s{r}"), points: b }
    }));
    let a = c.record_usage_stream(s).await.unwrap().into_inner();
    let stream = rounds as f64 * 1000.0 / t.elapsed().as_secs_f64();
    println!("{mode}: reference {reference:.0}/s unary {:.2} stream {:.2} ({} {} {})", unary/reference, stream/reference, a.accepted_count, a.duplicate_count, a.replaced_count);
    }
    }
    {
        let key = tandem_service_kit::identity::SigningKey::generate().unwrap();
        let mut v = tandem_service_kit::identity::Verifier::new("console");
        v.register("x", tandem_proto::common::v1::Role::Portal, &key.public_key()).unwrap();
        let s = tandem_service_kit::identity::Signer::new("x", tandem_proto::common::v1::Role::Portal, key);
        let t = s.token_now(&["console"]);
        let c0 = cpu();
        for _ in 0..5000 { v.verify(&t).unwrap(); }
        println!("verify cpu {:.1} us", (cpu() - c0) * 1e6 / 5000.0);
    }
    // single points
    let c0 = cpu();
    let total = 20000usize;
    let t = Instant::now();
    let mut js = tokio::task::JoinSet::new();
    for k in 0..64 {
        let mut c = h.counter(); let ws = ws.clone();
        js.spawn(async move { for i in 0..total/64 {
            let mut p = point(&ws[k % 20], "2026-03-01T10:00:00Z", 2, 5); p.sub_key = format!("c{k}-{i}");
            c.record_usage(console::RecordUsageRequest { request_id: format!("c{k}-{i}"), points: vec![p] }).await.unwrap();
        }});
    }
    while let Some(r) = js.join_next().await { r.unwrap(); }
    println!("cpu per call {:.1} us (client and server)", (cpu() - c0) * 1e6 / total as f64);
    println!("64 single: {:.0}/s", total as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    let mut c = h.counter();
    for i in 0..500 { let mut p = point(&ws[0], "2026-03-01T10:00:00Z", 2, 5); p.sub_key = format!("l{i}");
        c.record_usage(console::RecordUsageRequest { request_id: format!("l{i}"), points: vec![p] }).await.unwrap(); }
    println!("lone single: {:.2} ms", t.elapsed().as_secs_f64()*1000.0/500.0);
    h.stop().await;
}
