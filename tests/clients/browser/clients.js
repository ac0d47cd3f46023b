// The JavaScript clients, for a page of the tests: bundled as they are, by esbuild.
import * as core from '@cornerstonejs/core';
import * as loader from '@cornerstonejs/dicom-image-loader';
import { api } from 'dicomweb-client';

await core.init();
loader.init({ maxWebWorkers: 1 });
window.clients = { core, loader, DICOMwebClient: api.DICOMwebClient };
