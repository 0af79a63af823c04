import { startProcess } from './processes.js';
const n=+process.argv[2], rows=+process.argv[3];
const p=await startProcess('raw-server'); const ws=await Promise.all(Array.from({length:n},()=>startProcess('raw-reader')));
const {port}=await p.call('open'); await Promise.all(ws.map(w=>w.call('follow',{port})));
let before=0;
for(let k=0;k<4;k++){ await p.call('prepare',{rows}); const u0=await Promise.all([p,...ws].map(x=>x.call('usage')));
 const reached=ws.map(w=>w.call('reach',before+rows)); const a=await p.call('send'); const ends=await Promise.all(reached); before+=rows;
 const u1=await Promise.all([p,...ws].map(x=>x.call('usage'))); const end=Math.max(...ends.map(e=>e.at)); const ms=end-a.startedAt;
 const cpu=u1.map((u,i)=>(u.cpuMs-u0[i].cpuMs)); console.log(`total ${(Math.max(n,1)*rows/ms/1000).toFixed(2)} M/s, busy cores ${(cpu.reduce((x,y)=>x+y,0)/ms).toFixed(2)}, server ${(cpu[0]*1000/rows).toFixed(2)} us/row, readers ${(cpu.slice(1).reduce((x,y)=>x+y,0)*1000/rows/n).toFixed(2)} us/row`); }
process.exit();
