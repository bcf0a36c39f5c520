//! Reads everything about orders: many by pipeline at the first look, one by one script at the second.

use redis::{Cmd, Pipeline, Value};
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::keys::ShopKeys;
use shopwright_domain::order::Order;

use crate::books::{Document, OrderBooks, ProviderBook, RefundBook};
use crate::connection::{Books, Place, VerifyError};

/// One thing to read, and how.
enum Ask {
    Json(String),
    Hash(String),
    Score(String, String),
}

/// Reads all keys at one moment. ARGV: for each key `json`, `hash`, or the member whose score is asked for.
const TOGETHER: &str = r"#!lua flags=no-writes
local answers = {}
for index, key in ipairs(KEYS) do
  local how = ARGV[index]
  if how == 'hash' then
    answers[index] = redis.call('HGETALL', key)
  elseif how == 'json' then
    answers[index] = redis.call('EXISTS', key) == 1 and redis.call('JSON.GET', key)
  else
    answers[index] = redis.call('ZSCORE', key, how)
  end
end
return answers
";

impl Ask {
    fn add_to(&self, pipeline: &mut Pipeline) {
        match self {
            Self::Json(key) => pipeline.cmd("JSON.GET").arg(key),
            Self::Hash(key) => pipeline.cmd("HGETALL").arg(key),
            Self::Score(key, member) => pipeline.cmd("ZSCORE").arg(key).arg(member),
        };
    }
}

fn script(asks: &[Ask]) -> Cmd {
    let mut command = redis::cmd("EVAL_RO");
    command.arg(TOGETHER).arg(asks.len());
    for ask in asks {
        command.arg(match ask {
            Ask::Json(key) | Ask::Hash(key) | Ask::Score(key, _) => key,
        });
    }
    for ask in asks {
        command.arg(match ask {
            Ask::Json(_) => "json",
            Ask::Hash(_) => "hash",
            Ask::Score(_, member) => member,
        });
    }
    command
}

fn shop_asks(keys: &ShopKeys, id: OrderId, refunds: &[RefundId]) -> Vec<Ask> {
    let mut asks = vec![
        Ask::Json(keys.order(id)),
        Ask::Json(keys.reservation(id)),
        Ask::Score(keys.due(), id.to_string()),
    ];
    asks.extend(refunds.iter().map(|refund| Ask::Json(keys.refund(*refund))));
    asks
}

fn provider_asks(keys: &ShopKeys, id: OrderId, refunds: &[RefundId]) -> Vec<Ask> {
    let refunds = refunds.iter().map(|refund| Ask::Hash(keys.provider_refund(*refund)));
    std::iter::once(Ask::Hash(keys.provider_charge(id)))
        .chain(refunds)
        .collect()
}

/// Puts the answers to [`shop_asks`] and [`provider_asks`] together.
fn assemble(id: OrderId, shop: Vec<Value>, provider: Vec<Value>) -> Result<OrderBooks, VerifyError> {
    let unexpected = || VerifyError::Answer("the books of an order");
    let (mut shop, mut provider) = (shop.into_iter(), provider.into_iter());
    let order = Document::read(shop.next().ok_or_else(unexpected)?);
    let reservation = Document::read(shop.next().ok_or_else(unexpected)?);
    let due = redis::from_redis_value(shop.next().ok_or_else(unexpected)?)?;
    let charge = ProviderBook::read(provider.next().ok_or_else(unexpected)?).ok_or_else(unexpected)?;
    let refunds = shop.zip(provider).map(|(document, provider)| {
        Ok(RefundBook {
            document: Document::read(document),
            provider: ProviderBook::read(provider).ok_or_else(unexpected)?,
        })
    });
    Ok(OrderBooks {
        id,
        order,
        reservation,
        due,
        charge,
        refunds: refunds.collect::<Result<_, VerifyError>>()?,
    })
}

/// The first look at several orders. The provider is read after the shop: what an order concludes of it holds for ever.
pub(crate) async fn first(books: &mut Books, ids: &[OrderId]) -> Result<Vec<OrderBooks>, VerifyError> {
    let none = vec![Vec::new(); ids.len()];
    let known = read(books, ids, &none).await?;
    let refunds: Vec<Vec<RefundId>> = known.iter().map(refunds_of).collect();
    if refunds.iter().all(Vec::is_empty) {
        return Ok(known);
    }
    read(books, ids, &refunds).await
}

async fn read(books: &mut Books, ids: &[OrderId], refunds: &[Vec<RefundId>]) -> Result<Vec<OrderBooks>, VerifyError> {
    let keys = books.keys.clone();
    let mut pipelines = (redis::pipe(), redis::pipe());
    for (id, refunds) in ids.iter().zip(refunds) {
        for ask in shop_asks(&keys, *id, refunds) {
            ask.add_to(&mut pipelines.0);
        }
        for ask in provider_asks(&keys, *id, refunds) {
            ask.add_to(&mut pipelines.1);
        }
    }
    let mut shop = books.ask_all(Place::Shop, &pipelines.0).await?.into_iter();
    let mut provider = books.ask_all(Place::Provider, &pipelines.1).await?.into_iter();
    ids.iter()
        .zip(refunds)
        .map(|(id, refunds)| {
            let shop = shop.by_ref().take(3 + refunds.len()).collect();
            assemble(*id, shop, provider.by_ref().take(1 + refunds.len()).collect())
        })
        .collect()
}

/// Everything about one order at one moment. None when the order had other refunds by then than at the look before, or when
/// that moment was missed: no script sees two Redis. Then the provider is read before and after the shop. As its book about an
/// order only goes forward, what it says both times it said in between, too.
pub(crate) async fn second(books: &mut Books, before: &OrderBooks) -> Result<Option<OrderBooks>, VerifyError> {
    let (keys, id, refunds) = (books.keys.clone(), before.id, refunds_of(before));
    let mut asks = shop_asks(&keys, id, &refunds);
    let seen = if books.is_one() {
        let shop_side = asks.len();
        asks.extend(provider_asks(&keys, id, &refunds));
        let mut shop: Vec<Value> = books.ask(Place::Shop, &script(&asks)).await?;
        let provider = shop.split_off(shop_side.min(shop.len()));
        assemble(id, shop, provider)?
    } else {
        let provider = script(&provider_asks(&keys, id, &refunds));
        let earlier = books.ask(Place::Provider, &provider).await?;
        let shop: Vec<Value> = books.ask(Place::Shop, &script(&asks)).await?;
        let later = books.ask(Place::Provider, &provider).await?;
        let seen = assemble(id, shop.clone(), earlier)?;
        if assemble(id, shop, later)? != seen {
            return Ok(None);
        }
        seen
    };
    Ok((refunds_of(&seen) == refunds).then_some(seen))
}

fn refunds_of(books: &OrderBooks) -> Vec<RefundId> {
    let order: Option<&Order> = books.order.present();
    order.map(|order| order.refunds.clone()).unwrap_or_default()
}
