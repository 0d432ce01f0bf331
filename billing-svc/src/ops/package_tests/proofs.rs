//! Proofs find what was tampered with, and nothing else.

use super::*;

#[tokio::test]
async fn what_was_tampered_with_is_found() {
    let acts = [
        "UPDATE package_use SET covered = covered + 100 WHERE covered > 0",
        "UPDATE package_use SET factor = 1 WHERE factor = 2",
        "UPDATE package_use SET excess = excess - 100 WHERE excess <> 0",
        "UPDATE package_use SET number = number + 7 WHERE number = 10",
        "DELETE FROM package_use WHERE number = 10",
        "UPDATE package_use SET bill_id = 'bil_00000000000000000000000000000001' WHERE number = 9",
        "UPDATE package_item SET quota = quota - 100",
        "UPDATE package_item SET quota = quota + 100000",
        "UPDATE package_item SET unit_price = unit_price + 1 WHERE item = 'LOG_COUNT'",
        "UPDATE package_item SET factors = '3:1,7:1,14:1,30:3,60:3' WHERE item = 'LOG_COUNT'",
        "UPDATE package SET charged = charged + 1",
        "UPDATE package SET last_day = 20260228",
        "UPDATE bill_line SET quantity = quantity + 100 WHERE kind = 'annual_package' AND item = 'TRIGGER'",
        "UPDATE bill_line SET package_id = NULL WHERE kind = 'pay_as_you_go' AND item = 'TRIGGER'",
        "UPDATE bill_line SET amount = amount + 1 WHERE kind = 'pay_as_you_go' AND item = 'TRIGGER'",
        "UPDATE bill_line SET unit_price = 1 WHERE kind = 'annual_package' AND item = 'TRIGGER'",
        "UPDATE usage_day SET billed = billed - 100 WHERE item = 'TRIGGER'",
    ];
    for bench in both("package_tamper").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, START_UP + 100_000).await;
        buy(&bench, &account, order("start-up", &[], &[&workspace])).await.unwrap();
        bench.deliver(&workspace, FIRST, 1, &DOCUMENTED).await;
        finish(&bench, FIRST).await;
        prove(&bench).await;
        unlock(&bench).await;
        for act in acts {
            for table in TAMPERED {
                bench.run(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"), []).await;
            }
            bench.run(act, []).await;
            assert!(differences(&bench).await > 0, "{act} was not found");
            for table in TAMPERED {
                bench.run(&format!("DELETE FROM {table}"), []).await;
                bench.run(&format!("INSERT INTO {table} SELECT * FROM kept_{table}"), []).await;
                bench.run(&format!("DROP TABLE kept_{table}"), []).await;
            }
            assert_eq!(differences(&bench).await, 0, "{act} was not undone");
        }
    }
}

const TAMPERED: [&str; 5] = ["package", "package_item", "package_use", "bill_line", "usage_day"];

/// Takes the triggers away that refuse changes, as somebody with the database in hands would.
async fn unlock(bench: &Bench) {
    let postgres = bench.db.backend() == sea_orm::DbBackend::Postgres;
    let names = match postgres {
        true => {
            "SELECT tgname || ' ON ' || relname AS name FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid \
                 WHERE NOT tgisinternal"
        }
        false => "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    };
    for row in crate::store::read::all(&bench.db.read, names, []).await.unwrap() {
        let name: String = row.try_get_by_index(0).unwrap();
        bench.run(&format!("DROP TRIGGER {name}"), []).await;
    }
}

async fn differences(bench: &Bench) -> usize {
    let page = Page::from_request(500, "", 2).unwrap();
    // A row that cannot be read is found as well.
    let bills = prove_bills(&bench.db, None, None, &page).await.map_or(1, |proof| proof.differences.len());
    let drawn = prove_packages(&bench.db, None, &page).await.map_or(1, |proof| proof.differences.len());
    let ledger = crate::ops::prove_ledger::prove_ledger(&bench.db, None).await.unwrap().differences.len();
    bills + drawn + ledger
}

/// Random lives of three workspaces on two sites: late, corrected, covered, charged; proved after each day.
#[tokio::test]
async fn random_lives_are_proved_on_both_engines() {
    let step = (0usize..3, 0i32..3, prop::sample::select(vec![14, 30]), 0i64..20_000_000);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let days = prop::collection::vec(prop::collection::vec(step, 0..9), 20);
    let days = days.new_tree(&mut runner).unwrap().current();
    for bench in both("package_life").await {
        let account = bench.account("alice").await;
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            ids.push(bench.workspace(&account, name).await);
        }
        let west = "UPDATE workspace SET site = 'us1', time_zone = 'America/New_York' WHERE workspace_id = ?";
        bench.run(west, [ids[1].as_str().into()]).await;
        bench.recharge(&account, START_UP + 100_000_000).await;
        buy(&bench, &account, order("start-up", &[("logs", 3, 100)], &[&ids[2], &ids[1], &ids[0]]))
            .await
            .unwrap();
        let mut today = day(FIRST);
        for (n, steps) in (1_i64..).zip(&days) {
            for (m, (workspace, back, retention, units)) in (0_i64..).zip(steps) {
                let on = today.plus_days(-back).max(day(FIRST));
                let revision = n * 10 + m;
                bench
                    .deliver(&ids[*workspace], &on.to_string(), revision, &[(LogCount, *retention, *units)])
                    .await;
            }
            finish(&bench, &today.to_string()).await;
            bench.pass(SignedDuration::from_hours(14));
            bill_site(&bench, "us1", "America/New_York", &today.to_string()).await;
            prove(&bench).await;
            today = today.next();
        }
        assert!(bench.number("SELECT COUNT(*) FROM package_use WHERE covered < 0").await > 0);
        assert!(bench.number("SELECT COUNT(*) FROM package_use WHERE excess > 0").await > 0);
        assert!(bench.number("SELECT COUNT(*) FROM package_use WHERE bill_id IS NULL").await > 0);
    }
}
