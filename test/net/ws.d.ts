/** What the tests use of the package ws. */
declare module 'ws' {
  import type { EventEmitter } from 'node:events';
  import type { Server } from 'node:http';

  export interface WebSocket extends EventEmitter {
    send(data: string): void;
  }
  export class WebSocketServer extends EventEmitter<{ connection: [socket: WebSocket] }> {
    constructor(options: { server: Server });
  }
}
