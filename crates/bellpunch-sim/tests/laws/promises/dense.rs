//! `law.dense`: a gapless series gives 1, 2, 3 and on, in the order of entries; what is refused, asked
//! for dry or told again takes none, and none is given again after a void or a failure.

use serde_json::{Value, json};

use super::{How, MS, Told, World};
use crate::partition::{Command, Dice};

const SEQUENCES: u64 = 200;
const REQUESTS: u64 = 30;

fn payment(id: &str, client: &str) -> Command {
    let amount = json!({ "amount": 5, "currency": "SAR" });
    let args = json!({ "id": id, "client": client, "amount": amount, "method": "cash" });
    ("payments.create", args)
}

/// Some of them are refused: another client, an id and a document that were there before, a number
/// that never was or is void already.
fn some(dice: &mut Dice) -> Command {
    let (id, number) = (dice.below(40), format!("PAY-2027-{:04}", dice.below(20)));
    match dice.below(8) {
        0..=2 => payment(&format!("p{id}"), "c"),
        3 => payment(&format!("p{id}"), "nobody"),
        4 | 5 => ("series.next", json!({ "name": "PAY", "document": format!("d{id}") })),
        6 => ("series.void", json!({ "name": "PAY", "number": number, "reason": "lost" })),
        _ => ("payments.fail", json!({ "id": format!("p{id}"), "reason": "declined" })),
    }
}

/// The numbers that commands were told that they gave, in their order.
fn given(commands: &[Command], told: &Told) -> Vec<String> {
    let replies = told.body.as_array().map(Vec::as_slice);
    let replies = replies.unwrap_or_else(|| std::slice::from_ref(&told.body));
    let number = |((cmd, _), reply): (&Command, &Value)| match *cmd {
        "payments.create" => Some(reply["payment"]["number"].as_str().unwrap().to_owned()),
        "series.next" => Some(reply["number"]["number"].as_str().unwrap().to_owned()),
        _ => None,
    };
    commands.iter().zip(replies).filter_map(number).collect()
}

#[test]
fn law_dense() {
    let mut dice = Dice::of(11);
    let (mut all, mut refused) = (0, 0);
    for _ in 0..SEQUENCES {
        let client = json!({ "id": "c", "scope": "l", "name": "c" });
        let mut world = World::of(&[("clients.create", client)]);
        let (mut last, mut now) = (0, 0);
        for _ in 0..REQUESTS {
            // The clock goes back as well.
            now += *dice.pick(&[0, 0, 1, MS, -MS]);
            let many = 1 + dice.below(3);
            let commands: Vec<Command> = (0..many).map(|_| some(&mut dice)).collect();
            let key = format!("k{}", dice.below(9));
            let how = How { key: dice.once_in(3).then_some(&key), dry_run: dice.once_in(8) };
            let told = world.send_all(&commands, now.max(0), how);
            if told.code != "ok" {
                refused += 1;
                continue;
            }
            if told.replayed || how.dry_run {
                continue;
            }
            for number in given(&commands, &told) {
                last += 1;
                assert_eq!(number, format!("PAY-2027-{last:04}"));
            }
        }
        // All of them are kept, and no other is.
        for value in 1..=last + 1 {
            let id = format!("3:PAY1:-4:2027{value:016}");
            let code = world.send("numbers.read", json!({ "id": id }), now.max(0)).code;
            assert_eq!(code, if value <= last { "ok" } else { "number_not_found" });
        }
        all += last;
    }
    println!("{all} numbers, {refused} refusals");
    assert!(SEQUENCES * 8 <= all && SEQUENCES * 4 <= refused, "{all} {refused}");
}
