// The client of guide.md, its functions word for word but for the host name and the types; run by test_guide_client.py:
//   node guide_client.mjs URL TOKEN UPLOAD_ID FILE MODE
//
// MODE: `component`: as upload.tsx does it. `script`: as the guide's test script does it, waiting for the end before it closes.
// `forgetful`: never closes, as a page that is left open. Prints one line of JSON, how it went; then stays for REST_MS, for
// the test to count what a client at rest still asks.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventSource } from 'eventsource';

const [API_BASE_URL, token, uploadId, file, mode] = process.argv.slice(2);
const REST_MS = 3000;
const DEADLINE_MS = 60000;

const AsyncStorage = { getItem: () => token };
const errors = [];
if (mode !== 'component') console.error = (...words) => errors.push(String(words[0]));

function connectUploadProgressSSE(uploadId, onProgress) {
  const token = AsyncStorage.getItem('token');

  const eventSource = new EventSource(
    `${API_BASE_URL}/api/media/upload/${uploadId}/progress?token=${token}`
  );

  eventSource.onmessage = (event) => {
    const data = JSON.parse(event.data);
    onProgress(data);
  };

  if (mode !== 'forgetful') {
    eventSource.onerror = (error) => {
      console.error('SSE error:', error);
      eventSource.close();
    };
  }

  return eventSource;
}

const messages = [];
const states = [];
const setUploadState = (state) => states.push(state);

const formData = new FormData();
formData.append('file', new Blob([readFileSync(file)]), 'film.mp4');
formData.append('title', 'From the guide');

const eventSource = connectUploadProgressSSE(uploadId, (data) => {
  messages.push(data);
  setUploadState({
    status: data.stage === 'complete' ? 'success' : 'verifying',
    progress: data.progress,
    message: data.message,
  });
});

let answer;
try {
  const response = await fetch(`${API_BASE_URL}/api/media/upload`, {
    method: 'POST',
    headers: {
      'Authorization': `Bearer ${token}`,
      'X-Upload-ID': uploadId, // Send upload ID in header
    },
    body: formData,
  });
  answer = { status: response.status, body: await response.json() };
  if (mode !== 'component') {
    const deadline = Date.now() + DEADLINE_MS;
    const ended = () => messages.some(({ stage }) => stage === 'complete' || stage === 'error');
    while (!ended() && Date.now() < deadline) await sleep(10);
  }
} finally {
  if (mode !== 'forgetful') eventSource.close();
}

await sleep(REST_MS);
process.stdout.write(JSON.stringify({ answer, messages, states, errors }));
process.exit(0);
