// Node's HTTP server on several ports. It notes each request that it carries out in a file, and ends idle connections as Node does, or, with
// MODE=end, as programs do that call end() when a connection times out: it goes on reading.
//
// It sets the time-out of each idle connection itself: Node adds a second to keepAliveTimeout.
const fs = require('node:fs')
const http = require('node:http')

const journal = fs.openSync(process.env.JOURNAL, 'a')

for (const address of process.env.ADDRESSES.split(',')) {
	const server = http.createServer((req, res) => {
		req.resume()
		req.on('end', () => {
			req.socket.requests = (req.socket.requests ?? 0) + 1
			fs.writeSync(journal, `${new URL(req.url, 'http://localhost').searchParams.get('id')} ${req.socket.requests}\n`)
			res.on('finish', () => req.socket.setTimeout(Number(process.env.IDLE))) // after Node has set its own
			res.end('done')
		})
	})
	if (process.env.MODE === 'end') server.on('timeout', (socket) => socket.end())
	const [host, port] = address.split(':')
	server.listen(Number(port), host)
}
