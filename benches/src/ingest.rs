//! Usage in batches of a thousand points, fresh and sent again: `RecordUsage` from one client in sequence and
//! `RecordUsageStream`, each against the plain statement from one client.

use std::time::Instant;

use anyhow::Context as _;
use sqlx::PgConnection;
use tandem_proto::console::v1::{RecordUsageRequest, RecordUsageStreamRequest};

use crate::Sizes;
use crate::console::{Client, Console, first_hour, zone};
use crate::points::{BATCH, Batch, Source};
use crate::postgres::Server;
use crate::reference;
use crate::report::{Better, Measure};
use crate::stats::rate;

/// What a client needs of the unary method, and of the stream (issue, "Speed to reach").
const UNARY_FLOOR: f64 = 0.8;
const STREAM_FLOOR: f64 = 0.9;

/// How our side sends its batches.
#[derive(Clone, Copy)]
enum Way {
    Unary,
    Stream,
}

/// Measures both ways.
pub(crate) async fn run(server: &Server, sizes: Sizes) -> anyhow::Result<Vec<Measure>> {
    let database = server.database().await?;
    let console = Console::start(&database).await?;
    let mut connection = server.connect(Some(&database)).await?;
    reference::make_table(&mut connection).await?;
    let mut source = Source::new(console.workspaces.clone(), first_hour()?, zone()?);

    let mut measures = Vec::new();
    for (way, fresh, again, floor) in [
        (Way::Unary, "record_usage_batch", "record_usage_batch_again", UNARY_FLOOR),
        (Way::Stream, "record_usage_stream", "record_usage_stream_again", STREAM_FLOOR),
    ] {
        let mut pairs = (Vec::new(), Vec::new());
        reference::settle(&mut connection).await?;
        for round in 0..=sizes.rounds {
            let batches = source.batches(sizes.batches)?;
            let mut client = console.client()?;
            let first = pair(&mut client, &mut connection, way, &batches, Effect::New).await?;
            let second = pair(&mut client, &mut connection, way, &batches, Effect::Same).await?;
            // The first round fills caches and prepares statements on both sides.
            if round > 0 {
                pairs.0.push(first);
                pairs.1.push(second);
            }
        }
        let unit = "rows/s";
        measures.push(Measure { name: fresh, floor, better: Better::Higher, unit, pairs: pairs.0 });
        measures.push(Measure { name: again, floor, better: Better::Higher, unit, pairs: pairs.1 });
    }
    reference::compare(&mut connection).await?;
    drop(connection);
    console.stop().await?;
    server.remove(database).await?;
    Ok(measures)
}

/// What our side has to say of every point: a side that skipped work would look faster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    New,
    Same,
}

/// Ours, then the reference, with the same batches; rows a second of each.
async fn pair(
    client: &mut Client,
    connection: &mut PgConnection,
    way: Way,
    batches: &[Batch],
    effect: Effect,
) -> anyhow::Result<(f64, f64)> {
    let rows = u32::try_from(batches.len() * BATCH)?;
    let ours = match way {
        Way::Unary => {
            let requests: Vec<_> = batches.iter().map(Batch::request).collect();
            let begun = Instant::now();
            unary(client, requests, effect).await?;
            rate(rows, begun.elapsed())
        }
        Way::Stream => {
            let messages: Vec<_> = batches.iter().map(Batch::message).collect();
            let begun = Instant::now();
            stream(client, messages, effect, i64::from(rows)).await?;
            rate(rows, begun.elapsed())
        }
    };
    let begun = Instant::now();
    for batch in batches {
        reference::write(connection, &batch.columns).await?;
    }
    Ok((ours, rate(rows, begun.elapsed())))
}

async fn unary(client: &mut Client, requests: Vec<RecordUsageRequest>, effect: Effect) -> anyhow::Result<()> {
    for request in requests {
        let answer = client.record_usage(request).await.context("RecordUsage failed")?.into_inner();
        let counted = if effect == Effect::New { answer.accepted_count } else { answer.duplicate_count };
        anyhow::ensure!(
            usize::try_from(counted)? == BATCH,
            "RecordUsage answered {counted} of {BATCH} as expected"
        );
    }
    Ok(())
}

async fn stream(
    client: &mut Client,
    messages: Vec<RecordUsageStreamRequest>,
    effect: Effect,
    rows: i64,
) -> anyhow::Result<()> {
    let answer = client.record_usage_stream(tokio_stream::iter(messages)).await;
    let answer = answer.context("RecordUsageStream failed")?.into_inner();
    let counted = if effect == Effect::New { answer.accepted_count } else { answer.duplicate_count };
    anyhow::ensure!(counted == rows, "RecordUsageStream answered {counted} of {rows} as expected");
    Ok(())
}
