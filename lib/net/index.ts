export { type NamespaceReference, NetworkNamespace } from './network-namespace.js';
