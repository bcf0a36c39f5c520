//! Searching: what is found, and what hostile text can do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use reqwest::Method;
use support::{
    api::{Api, names, reply},
    eventually,
};

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_words_and_survives_hostile_text() {
    let api = Api::start().await;
    for (name, description) in [
        ("Red running shirt", "The one of wool"),
        ("Blue shirt", "for cold days, size 3-XL"),
        ("Über-Straße poster", "C++ foo_bar"),
        ("The Who", "a record"),
    ] {
        api.create(name, description).await;
    }
    assert_eq!(api.find("shirt").await, ["Blue shirt", "Red running shirt"]);
    assert_eq!(api.find("SHIRT red").await, ["Red running shirt"]);
    assert_eq!(api.find("run shi").await, ["Red running shirt"], "beginnings of words");
    assert_eq!(api.find("the who").await, ["The Who"], "no stop words");
    assert_eq!(api.find("3-xl").await, ["Blue shirt"]);
    assert_eq!(api.find("foo_bar").await, ["Über-Straße poster"]);
    assert_eq!(api.find("über").await, ["Über-Straße poster"]);
    assert_eq!(api.find("STRASSE").await, [""; 0]);
    assert_eq!(
        api.find("red | blue").await,
        [""; 0],
        "an operator is punctuation: both words are wanted"
    );
    assert_eq!(
        api.find("@name:red").await,
        [""; 0],
        "a field name is a word like any other"
    );
    for hostile in [
        "-shirt",
        "(red",
        "red)",
        "\"red",
        "red*",
        "%red%",
        "$w0",
        "@id:{*}",
        "*",
        "red =>[KNN 2 @v $b]",
        "\\",
        "'",
        "{red}",
        "[0 1]",
        "red;DROP",
        "~red",
        "\u{0}red",
        "رِجل",
        "👕 red",
        "a b c d e f g h i j k l m n o p",
    ] {
        let response = reply(api.request(Method::GET, "/v1/products").query(&[("q", hostile)])).await;
        assert!(
            matches!(response.status.as_u16(), 200 | 400),
            "{hostile:?}: {}",
            response.body
        );
        if response.status == 400 {
            response.is_problem(400, "query_invalid");
        }
    }
    let limited = api.get("/v1/products?limit=2").await;
    assert_eq!(names(&limited.body).len(), 2);
    assert_eq!(limited.body["items"][0]["name"], "The Who", "the newest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_is_not_listed() {
    let api = Api::start().await;
    let id = api.create("Old shirt", "").await;
    api.create("New shirt", "").await;
    api.shop.set(id.parse().unwrap(), ".archived", "true").await;
    eventually("the archived one is gone", || async {
        api.find("shirt").await == ["New shirt"] && names(&api.get("/v1/products").await.body) == ["New shirt"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_product_hides_no_other() {
    let api = Api::start().await;
    let broken = api.create("Broken shirt", "").await;
    api.create("Whole shirt", "").await;
    api.shop.set(broken.parse().unwrap(), ".price", "\"dear\"").await;
    eventually("only the readable one", || async {
        api.find("shirt").await == ["Whole shirt"]
    })
    .await;
}
