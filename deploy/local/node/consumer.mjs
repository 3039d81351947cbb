// A consumer in Node: it charges for what was shipped.
import { CreateQueueCommand, DeleteMessageCommand, ReceiveMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { setTimeout as sleep } from "node:timers/promises";

const sqs = new SQSClient({});
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => stopping.abort());

const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: "shipped" }));
while (!stopping.signal.aborted) {
  try {
    const waiting = new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20 });
    const { Messages = [] } = await sqs.send(waiting, { abortSignal: stopping.signal });
    for (const { Body, ReceiptHandle } of Messages) {
      console.log(`charged for order ${JSON.parse(Body).order}`);
      await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
    }
  } catch (error) {
    if (stopping.signal.aborted) break;
    console.error(`${error}`);
    await sleep(1000);
  }
}
