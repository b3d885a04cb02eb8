/**
 * Labs: hosts, links, bridges and routes inside namespaces, from one description.
 * @module tuntap-native/lab
 */

export { createLab, Lab } from './lab.js';
export type { LabBridge, LabDescription, LabEnd, LabHost } from './plan.js';
