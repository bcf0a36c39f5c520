// Lists products, places an order, and follows it until it is final. Money stays in integer minor units.

const FINAL_STATES = new Set(["completed", "rejected", "declined", "cancelled", "refunded"]);
const FIRST_POLL_MILLISECONDS = 400;
const SLOWEST_POLL_MILLISECONDS = 3000;

const STATE_TEXT = {
  pending: "waiting for stock",
  reserved: "stock is held",
  charging: "being charged",
  paid: "paid, being completed",
  completed: "completed",
  rejected: "rejected",
  declined: "payment declined",
  cancelled: "cancelled",
  refunded: "refunded",
};

const REASON_TEXT = {
  insufficient_stock: "There is not enough in stock.",
  price_changed: "The price has changed; look at the list again.",
  unknown_product: "A product is not known.",
  archived: "A product is no longer sold.",
  currency_mismatch: "A product is sold in another currency.",
  declined: "The payment was declined.",
  deadline: "It took too long.",
  shopper: "It was called off.",
  total_out_of_range: "The total is too large.",
  commit_refused: "The stock was no longer held; the money goes back.",
};

const byId = (id) => document.getElementById(id);
const notice = byId("notice");
const problem = byId("problem");
const placeButton = byId("place");

/** What is listed: product and its quantity field, by id. */
let listed = new Map();
/** Counts orders followed, so that an older poll ends when a new order is placed. */
let following = 0;
/** What was asked for and not answered: asked for again, it is the same order. */
let unanswered = null;

/** The amount as the currency writes it: yen have no decimals, dinars three. */
function formatMoney({ amount, currency }) {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
  const digits = format.resolvedOptions().maximumFractionDigits;
  const text = String(amount).padStart(digits + 1, "0");
  const whole = text.slice(0, text.length - digits);
  // A decimal text is formatted exactly, where a division would go through a double.
  return format.format(digits === 0 ? whole : `${whole}.${text.slice(-digits)}`);
}

async function call(path, options = {}) {
  const response = await fetch(path, { headers: { accept: "application/json" }, ...options });
  const type = response.headers.get("content-type") ?? "";
  const body = type.includes("json") ? await response.json() : null;
  if (!response.ok) {
    const details = (body?.errors ?? []).map((error) => error.detail);
    const text = [body?.detail ?? `The shop answered ${response.status}.`, ...details].join(" ");
    throw new Error(body?.request_id ? `${text} (request ${body.request_id})` : text);
  }
  return body;
}

/** The shop's own words, or `unanswered` when it gave no whole reply. */
function messageOf(error, unanswered = "The shop cannot be reached.") {
  return error instanceof TypeError || error instanceof SyntaxError ? unanswered : error.message;
}

async function listProducts() {
  const query = byId("query").value.trim();
  const parameters = new URLSearchParams({ limit: "100" });
  if (query) parameters.set("q", query);
  try {
    const { items } = await call(`/api/v1/products?${parameters}`);
    showProducts(items);
    notice.textContent = items.length > 0 ? "" : query ? "Nothing was found." : "There are no products yet.";
  } catch (error) {
    notice.textContent = messageOf(error);
  }
}

function showProducts(products) {
  const chosen = new Map([...listed].map(([id, entry]) => [id, entry.input.value]));
  listed = new Map();
  const items = products.map((product) => {
    const item = byId("product-template").content.cloneNode(true);
    item.querySelector("h3").textContent = product.name;
    item.querySelector(".description").textContent = product.description;
    item.querySelector(".price").textContent = formatMoney(product.price);
    item.querySelector(".stock").textContent = product.in_stock ? "✓ in stock" : "✗ out of stock";
    const input = item.querySelector("input");
    input.setAttribute("aria-label", `Quantity of ${product.name}`);
    input.disabled = !product.in_stock;
    if (product.in_stock) input.value = chosen.get(product.id) ?? "0";
    listed.set(product.id, { product, input });
    return item;
  });
  byId("products").replaceChildren(...items);
  showSum();
}

/** Chosen lines; a field that holds no number counts as nothing. */
function chosenLines() {
  return [...listed.values()]
    .map(({ product, input }) => ({ product, quantity: input.valueAsNumber }))
    .filter(({ quantity }) => Number.isInteger(quantity) && quantity > 0);
}

function showSum() {
  const lines = chosenLines();
  placeButton.disabled = lines.length === 0;
  const amount = lines.reduce((sum, { product, quantity }) => sum + product.price.amount * quantity, 0);
  byId("sum").textContent =
    lines.length === 0
      ? "nothing yet"
      : Number.isSafeInteger(amount)
        ? `${formatMoney({ amount, currency: lines[0].product.price.currency })}, without the shop's fee`
        : "too much";
}

/** 132 random bits: whoever knows the key of a request is shown its order. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(22));
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return Array.from(bytes, (byte) => letters[byte % 64]).join("");
}

async function placeOrder() {
  const lines = chosenLines().map(({ product, quantity }) => ({
    product_id: product.id,
    quantity,
    expected_unit_price: product.price,
  }));
  problem.textContent = "";
  // Against a second click while the first order is on its way.
  placeButton.disabled = true;
  const body = JSON.stringify({ lines });
  if (unanswered?.body !== body) unanswered = { body, key: newKey() };
  try {
    const order = await call("/api/v1/orders", {
      method: "POST",
      headers: {
        accept: "application/json",
        "content-type": "application/json",
        "idempotency-key": unanswered.key,
      },
      body,
    });
    unanswered = null;
    for (const { input } of listed.values()) input.value = "0";
    showOrder(order);
    byId("order").hidden = false;
    byId("order-title").focus();
    void follow(order);
  } catch (error) {
    problem.textContent = messageOf(error, "The shop gave no answer. Place it again: it will not be placed twice.");
  } finally {
    showSum();
  }
}

/** Asks for the order until it is final, more slowly as time goes by. */
async function follow(order) {
  const turn = ++following;
  let pause = FIRST_POLL_MILLISECONDS;
  while (turn === following && !FINAL_STATES.has(order.state)) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 1.3, SLOWEST_POLL_MILLISECONDS);
    try {
      const seen = await call(`/api/v1/orders/${encodeURIComponent(order.id)}`, {
        headers: { accept: "application/json", "order-token": order.order_token },
      });
      if (turn !== following) return;
      seen.order_token = order.order_token;
      // Two replies may overtake each other; the version never goes back.
      if (seen.version > order.version) {
        order = seen;
        showOrder(order);
      }
      problem.textContent = "";
    } catch (error) {
      problem.textContent = messageOf(error);
    }
  }
  if (turn === following) await listProducts();
}

function showOrder(order) {
  byId("order-id").textContent = order.id;
  byId("order-state").textContent = STATE_TEXT[order.state] ?? order.state;
  byId("order-reason").textContent = order.reason ? (REASON_TEXT[order.reason] ?? order.reason) : "";
  const time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  const steps = (order.timeline ?? []).map(({ state, at }) => {
    const item = document.createElement("li");
    const moment = document.createElement("time");
    moment.dateTime = at;
    moment.textContent = time.format(new Date(at));
    item.append(moment, ` ${STATE_TEXT[state] ?? state}`);
    return item;
  });
  byId("timeline").replaceChildren(...steps);
  const amounts = [["Subtotal", order.subtotal], ["Fee", order.fee], ["Total", order.total], ["Refunded", order.refunded]];
  const rows = amounts
    .filter(([name, money]) => money && (name !== "Refunded" || money.amount > 0))
    .flatMap(([name, money]) => {
      const term = document.createElement("dt");
      term.textContent = name;
      const value = document.createElement("dd");
      value.textContent = formatMoney(money);
      return [term, value];
    });
  byId("amounts").replaceChildren(...rows);
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  void listProducts();
});
byId("order-form").addEventListener("input", showSum);
byId("order-form").addEventListener("submit", (event) => {
  event.preventDefault();
  void placeOrder();
});
void listProducts();
