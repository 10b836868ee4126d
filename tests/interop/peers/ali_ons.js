// Drives ali-ons: `node ali_ons.js MODULE produce NAMESRV TOPIC`. One JSON line is its answer.
// The topic must exist: this client does not ask for the template topic's route.
'use strict';

const [ , , module_, , namesrv, topic ] = process.argv;
const { Producer, Message } = require(module_);

// `httpclient` must be there and is not used when `nameSrv` is.
const quiet = { info() {}, debug() {}, warn() {}, error: console.error, log() {} };
const options = { nameSrv: namesrv, httpclient: {}, clientIP: '127.0.0.1', producerGroup: 'PG_ons', logger: quiet };

async function main() {
  const producer = new Producer(options);
  producer.on('error', error => { throw error; });
  await producer.ready();
  const results = [];
  for (let number = 0; number < 5; number++) {
    const message = new Message(topic, 'TagA', `plain ${number} é 中`);
    message.keys = [ `key${number}`, 'all' ];
    results.push(await producer.send(message));
  }
  const large = new Message(topic, 'TagL', 'large ' + 'x'.repeat(10000));
  large.keys = [ 'large' ];
  results.push(await producer.send(large));
  results.push(await producer.send(new Message(topic, 'bare')));
  for (let number = 0; number < 2; number++) {
    const message = new Message(topic, 'TagS', `sharded ${number}`);
    message.properties.__SHARDING_KEY = 'one';
    results.push(await producer.send(message));
  }
  await producer.close();
  const told = results.map(each => [ each.sendStatus, each.msgId, each.messageQueue.queueId, each.queueOffset ]);
  console.log(JSON.stringify({ results: told }));
  process.exit(0);
}

main().catch(error => { console.error(error); process.exit(1); });
