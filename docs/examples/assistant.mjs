// An assistant in Node.js that uses the HTTP API: it reports what users write, answers, and sends what is due.
// Node 20 or newer, no packages. Import onMessage and sendWhatIsDue, with ENGAGEMENT_URL and ENGAGEMENT_TOKEN in the
// environment. Run directly, it reports one message and prints the answer: node assistant.mjs 5511987654321 "2"
import { randomUUID } from "node:crypto";
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

const BASE = `${process.env.ENGAGEMENT_URL}/api/v1`;
const TOKEN = process.env.ENGAGEMENT_TOKEN;

// One request. It is sent again after 429, 502, 503, 504 or a lost answer: every request of the API is repeatable. The
// answer says in `retried` whether an earlier attempt may have arrived.
export async function ask(path, body) {
  for (let attempt = 1; ; attempt += 1) {
    const { status, answer, retryAfter } = await answerTo(path, body);
    if (status < 300) return { ...answer, retried: attempt > 1 };
    if (![429, 502, 503, 504].includes(status) || attempt === 5) {
      throw new Error(`${path}: ${status} ${answer.error?.message}`);
    }
    await new Promise((resolve) => setTimeout(resolve, (retryAfter || attempt) * 1000));
  }
}

// What the server answered. A lost or incomplete answer counts as 502; the error page of a proxy keeps its status.
async function answerTo(path, body) {
  let response;
  try {
    response = await fetch(`${BASE}/${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });
    const answer = await response.json();
    return { status: response.status, answer, retryAfter: Number(response.headers.get("retry-after")) };
  } catch (error) {
    const answer = { error: { message: String(error) } };
    return {
      status: response && !response.ok ? response.status : 502,
      answer,
      retryAfter: Number(response?.headers.get("retry-after")),
    };
  }
}

// Call this for every message that a user writes. `send(to, text)` is your way to WhatsApp.
export async function onMessage({ number, messageId, text, receivedAt, buttonOf }, send) {
  const result = await ask("inbound-messages", {
    number,
    text,
    message_id: messageId,
    received_at: receivedAt,
    button_of: buttonOf ?? null,
  });
  // WhatsApp delivers some messages twice: a repeat was answered then, unless it repeats this very call.
  if (result.reply && (!result.repeat || result.retried)) await send(number, result.reply.text);
  return result;
}

// Call this every few seconds. It sends what is due, each message at most once.
export async function sendWhatIsDue(send) {
  const { leases, paused_until: pausedUntil } = await ask("leases", { request_id: randomUUID(), limit: 10 });
  for (const lease of leases) {
    try {
      const early = new Date(lease.send_at) - Date.now();
      if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
      const outcome = await outcomeOf(lease, send);
      await ask(`leases/${lease.message_id}/outcome`, { attempt_id: lease.attempt_id, ...outcome });
    } catch (error) {
      // The lease expires; a receipt or a person then resolves the message.
      console.error(`${lease.message_id}: ${error.message}`);
    }
  }
  return { leased: leases.length, pausedUntil };
}

// The longest that `send` takes.
const SEND_MS = 15_000;

async function outcomeOf(lease, send) {
  // A message whose lease ends while it is sent would be sent twice if a person had it sent again.
  if (new Date(lease.expires_at) - Date.now() < SEND_MS) {
    return { outcome: "refused", scope: "connection", code: "too_late" };
  }
  try {
    return { outcome: "accepted", provider_message_id: (await send(lease.to, lease.text)) ?? null };
  } catch (error) {
    // `refused` only if the message has certainly not left; in all doubt it is unknown, and never sent again.
    return error.certainlyNotSent
      ? { outcome: "refused", scope: error.scope ?? "connection", code: error.code ?? "error" }
      : { outcome: "unknown", code: "error" };
  }
}

async function main([number, text]) {
  if (!process.env.ENGAGEMENT_URL || !TOKEN || !number || text === undefined) {
    console.error("usage: ENGAGEMENT_URL=https://… ENGAGEMENT_TOKEN=… node assistant.mjs NUMBER TEXT");
    return 2;
  }
  const message = { number, text, messageId: randomUUID(), receivedAt: new Date().toISOString() };
  try {
    console.log(JSON.stringify(await onMessage(message, () => {}), null, 2));
    return 0;
  } catch (error) {
    console.error(error.message);
    return 1;
  }
}

// Not if it is imported.
if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
