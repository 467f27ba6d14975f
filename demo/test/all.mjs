// Owns the order of the tests of the page: one process, so that they share a browser, and one after the other, because their times
// must not disturb each other. Each file also runs alone: node --test demo/test/page.test.mjs
import './page.test.mjs';
import './call.test.mjs';
import './chaos.test.mjs';
import './guards.test.mjs';
import './access.test.mjs';
import './phone.test.mjs';
import './picture.test.mjs';
