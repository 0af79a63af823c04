/** In a file of its own: the public types may not lead to those of the driver, which are not installed with Rowcast. */

export type Synchronous = 'full' | 'normal';
