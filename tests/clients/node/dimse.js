// dcmjs-dimse as a client. The argument is a JSON object: where to call, and what to ask; one JSON object is printed.
// node dimse.js '{"host": "127.0.0.1", "port": 104, "called": "GANTRY", "calling": "NODE", "ask": ["echo"]}'
import dcmjsDimse from 'dcmjs-dimse';

const { Client, log, requests, responses, constants } = dcmjsDimse;
const { Status } = constants;
log.disableAll();

const wish = JSON.parse(process.argv[2]);
const told = { statuses: [], matches: [], received: [], counts: null, errors: [] };
const client = new Client();

const makers = {
  echo: () => new requests.CEchoRequest(),
  store: (path) => new requests.CStoreRequest(path),
  findStudies: (keys) => requests.CFindRequest.createStudyFindRequest(keys),
  findSeries: (keys) => requests.CFindRequest.createSeriesFindRequest(keys),
  findImages: (keys) => requests.CFindRequest.createImageFindRequest(keys),
  moveStudy: (to, study) => requests.CMoveRequest.createStudyMoveRequest(to, study),
  moveSeries: (to, study, series) => requests.CMoveRequest.createSeriesMoveRequest(to, study, series),
  getStudy: (study) => requests.CGetRequest.createStudyGetRequest(study),
  getImage: (study, series, sop) => requests.CGetRequest.createImageGetRequest(study, series, sop),
};

for (const [what, ...values] of wish.ask) {
  const request = makers[what](...values);
  request.on('response', (response) => {
    if (response.getStatus() === Status.Pending) {
      if (what.startsWith('find') && response.hasDataset()) told.matches.push(response.getDataset().getElements());
      return;
    }
    told.statuses.push(response.getStatus());
    if (response.getCompleted) told.counts = [response.getCompleted(), response.getFailures(), response.getWarnings()];
  });
  client.addRequest(request);
}

client.on('cStoreRequest', (request, answer) => {
  const ds = request.getDataset();
  const pixels = ds.getElement('PixelData');
  const bytes = pixels === undefined ? null : [].concat(pixels).reduce((sum, one) => sum + one.byteLength, 0);
  told.received.push({ sop: ds.getElement('SOPInstanceUID'), syntax: ds.getTransferSyntaxUid(), pixels: bytes });
  const response = responses.CStoreResponse.fromRequest(request);
  response.setStatus(Status.Success);
  answer(response);
});
client.on('associationRejected', (how) => told.errors.push(['rejected', how.result, how.source, how.reason]));
client.on('networkError', (error) => told.errors.push(['network', String(error.message)]));
client.on('closed', () => process.stdout.write(JSON.stringify(told)));
client.send(wish.host, wish.port, wish.calling, wish.called);
